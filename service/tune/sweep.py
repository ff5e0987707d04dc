"""Which of many settings is best, found within a budget of time by successive halving.

All settings are measured for a short time, the best third of them again and for longer, and so on; the last
few are measured in turn, three times, so that a temporary disturbance of the machine does not decide between
them. Each round has the same share of the time. Batch options are options of a load, so each visit to a
setting loads the engine: if that takes long, fewer settings are measured, once each.
Source: Jamieson and Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization".
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from runtime_ext import Error
from trtserve.errors import TrtserveError
from trtserve.text import sentence
from trtserve.tune.bench import Bench
from trtserve.tune.closed_loop import LEAD_IN, Clock, Sample
from trtserve.tune.report import Row, best, held
from trtserve.tune.target import Asked, Setting
from trtserve.tune.watcher import Watcher

FINALISTS = 3  # about so many settings are left for the last round
KEPT = 3  # one of so many settings goes on to the next round
VISITS = 3  # to each finalist: an odd number, so that the median is one of them
LEAST_S = 0.02  # of a measurement
LOADS = 0.5  # of the budget at most goes into loads
HOPELESS = 2.0  # a p99 above so many times its bound: more requests at once need not be tried


@dataclass
class Outcome:
    """What is known of a setting."""

    setting: Setting
    samples: dict[int, list[Sample]] = field(default_factory=dict)  # by concurrency; of its last round
    rounds: dict[int, int] = field(default_factory=dict)  # by concurrency: the number of that round
    failure: str | None = None

    def add(self, round: int, concurrency: int, sample: Sample) -> None:
        """A later round is longer, so its samples take the place of those of an earlier one."""
        if self.rounds.get(concurrency) != round:
            self.samples[concurrency] = []
            self.rounds[concurrency] = round
        self.samples[concurrency].append(sample)

    def rows(self) -> list[Row]:
        return [Row(self.setting, number, median(samples)) for number, samples in self.samples.items()]


def median(samples: Sequence[Sample]) -> Sample:
    """`seconds` is not the median but all of them."""
    return Sample(
        throughput=statistics.median(sample.throughput for sample in samples),
        p50_ms=statistics.median(sample.p50_ms for sample in samples),
        p99_ms=statistics.median(sample.p99_ms for sample in samples),
        mean_batch=statistics.median(sample.mean_batch for sample in samples),
        seconds=sum(sample.seconds for sample in samples),
    )


# -- which settings


def choose_settings(asked: Asked, most_items: int | None) -> list[Setting]:
    """Each once: batches of `most_items` at most, and no delay where no request waits for another."""
    settings = []
    for instances, size, delay in product(asked.instances, asked.batch, asked.delay_us):
        items = size if most_items is None else min(size, most_items)
        settings.append(Setting(instances, items, delay if items > 1 else 0))
    return list(dict.fromkeys(settings))


def round_sizes(settings: int) -> list[int]:
    """How many settings each round has: 20 of them give 20, 7 and 3."""
    sizes = [settings]
    while sizes[-1] > FINALISTS + 1:
        sizes.append(max(FINALISTS, math.ceil(sizes[-1] / KEPT)))
    return sizes


def spread(settings: Sequence[Setting], number: int) -> list[Setting]:
    """So many of the settings, the first and the last among them, and evenly in between."""
    if number >= len(settings):
        return list(settings)
    step = (len(settings) - 1) / max(1, number - 1)
    return [settings[round(place * step)] for place in range(number)]


# -- measuring


class Sweep:
    """One search. What has been measured is in `outcomes` at any time, also after Ctrl-C."""

    def __init__(
        self, bench: Bench, settings: Sequence[Setting], asked: Asked, watcher: Watcher, clock: Clock
    ) -> None:
        self._bench = bench
        self._asked = asked
        self._levels = sorted(asked.concurrency)
        self._watcher = watcher
        self._clock = clock
        self._told: tuple[Setting, int] | None = None  # the best row, as the watcher knows it
        self._settings = list(settings)
        self._began = 0.0
        self._load_s = 0.0  # the longest load so far
        self._overhead_s = 0.0  # what the last measurement took beyond what it was asked to
        self.outcomes: list[Outcome] = []
        self.finalists: list[Outcome] = []  # those to choose from

    def run(self, load_seconds: float, began: float) -> None:
        """Search until the budget, which runs since `began`, is spent; `load_seconds`: a load's."""
        self._began, self._load_s = began, load_seconds
        sizes, visits = self._plan(load_seconds)
        self.finalists = self.outcomes = [Outcome(setting) for setting in self._settings]
        running = self.outcomes
        for number, size in enumerate(sizes):
            running = self._ranked(running)[:size] if number else running
            is_last = number == len(sizes) - 1
            times = visits if is_last else 1
            ends = self._clock() + (self._ends() - self._clock()) / (len(sizes) - number)
            if not self._round(number, [*running] * times, ends, f"{number + 1}/{len(sizes)}"):
                break
            self.finalists = running
        left_out = sum(not outcome.samples and outcome.failure is None for outcome in self.outcomes)
        if left_out:
            self._watcher.say(
                f"The time was over before {left_out} settings were measured: give a longer --budget."
            )

    def _plan(self, load_seconds: float) -> tuple[list[int], int]:
        """The size of each round, and the visits to each setting in the last one."""
        count, budget = len(self._settings), self._asked.budget_s
        sizes = round_sizes(count)
        loads = sum(sizes[:-1]) + VISITS * sizes[-1] + self._bench.closing_loads
        levels = ", ".join(map(str, self._levels))
        if loads * load_seconds <= LOADS * budget:
            told = ", then ".join(map(str, sizes))
            self._watcher.say(f"{told} settings at concurrency {levels}, in {budget:g} s.")
            return sizes, VISITS
        fit = max(1, min(count, int(LOADS * budget / load_seconds)))
        self._settings = spread(self._settings, fit)
        also = f" of {count}" if fit < count else ""
        self._watcher.say(
            f"A load takes {load_seconds:.3g} s, so {fit}{also} settings are measured, once each, at "
            f"concurrency {levels}, in {budget:g} s."
        )
        return [fit], 1

    def _round(self, number: int, visits: Sequence[Outcome], ends: float, told: str) -> bool:
        """Visit the settings in turn; False if the time for measurements, or for a load, was over before."""
        for place, outcome in enumerate(visits):
            if self._is_over(self._load_s):
                return False
            if outcome.failure is None:
                share = (ends - self._clock()) / (len(visits) - place)
                spent = (self._clock() - self._began) / self._asked.budget_s
                self._watcher.visit(f"round {told}", outcome.setting, min(1.0, spent))
                self._visit(number, outcome, share)
        return True

    def _visit(self, round: int, outcome: Outcome, share: float) -> None:
        """Measure a setting at each concurrency, within `share` seconds."""
        setting = outcome.setting
        try:
            with self._bench.loaded(setting) as load_seconds:
                self._load_s = max(self._load_s, load_seconds)
                each = (share - load_seconds) / len(self._levels)
                for concurrency in self._levels:
                    if self._is_over():
                        return
                    sample = self._measure(concurrency, (each - self._overhead_s) / (1 + LEAD_IN))
                    outcome.add(round, concurrency, sample)
                    self._tell()
                    if self._is_hopeless(setting, sample):
                        return
        except (Error, TrtserveError) as failure:
            outcome.failure = sentence(str(failure))
            self._watcher.say(f"{setting}: {outcome.failure}")

    def _measure(self, concurrency: int, seconds: float) -> Sample:
        seconds = max(LEAST_S, seconds)
        began = self._clock()
        sample = self._bench.measure(concurrency, seconds)
        self._overhead_s = max(0.0, self._clock() - began - seconds * (1 + LEAD_IN))
        return sample

    def _ends(self) -> float:
        """When the last measurement is to have ended: the rest of the budget is for the loads that follow."""
        return self._began + self._asked.budget_s - self._bench.closing_loads * self._load_s

    def _is_over(self, needed_s: float = 0.0) -> bool:
        """Less time is left than is needed; but something is measured in any case."""
        over = self._clock() + needed_s >= self._ends()
        return over and any(outcome.samples for outcome in self.outcomes)

    def _is_hopeless(self, setting: Setting, sample: Sample) -> bool:
        """More requests at once take longer; except that a batch that is full does not wait for its delay."""
        delay = setting.max_queue_delay_us
        waits_ms = delay / 1000 if isinstance(delay, int) else self._asked.latency_ms
        return sample.p99_ms > HOPELESS * self._asked.latency_ms + waits_ms

    def _tell(self) -> None:
        """Tell the watcher of the best row if it is another than before."""
        chosen = best(self.rows(), self._asked.latency_ms)
        if chosen is not None and (chosen.setting, chosen.concurrency) != self._told:
            self._told = (chosen.setting, chosen.concurrency)
            self._watcher.improved(chosen)

    def rows(self) -> list[Row]:
        return [row for outcome in self.outcomes for row in outcome.rows()]

    def chosen_from(self) -> list[Row]:
        """The rows of the settings that were measured longest; of all, if those have failed."""
        for outcomes in (self.finalists, self.outcomes):
            rows = [row for outcome in outcomes if outcome.failure is None for row in outcome.rows()]
            if rows:
                return rows
        return []

    def failures(self) -> Iterator[str]:
        for outcome in self.outcomes:
            if outcome.failure is not None:
                yield f"{outcome.setting}: {outcome.failure}"

    def _ranked(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """From best to worst: by throughput within the bound of the latency, then by latency."""

        def worth(outcome: Outcome) -> tuple[int, float]:
            rows = outcome.rows()
            if outcome.failure is not None or not rows:
                return -1, 0.0
            within = held(rows, self._asked.latency_ms)
            if within:
                return 1, within[outcome.setting].sample.throughput
            return 0, -min(row.sample.p99_ms for row in rows)

        return sorted(outcomes, key=worth, reverse=True)
