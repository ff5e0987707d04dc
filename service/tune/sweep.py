"""`trtserve tune`: measures settings of an engine on this machine, and says which is best.

Batch options are options of a load, so each setting is an engine of its own. They are loaded in turn, one at
a time, and again in every round, so that a temporary disturbance of the machine does not decide between them;
an engine that loads slowly is measured for all rounds at once.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Protocol

from runtime_ext import EngineInfo, Error, Runtime, create_runtime
from runtime_ext.backends import built_backends
from trtserve.engines.seam_options import (
    check_tensorrt_libraries,
    load_options,
    openvino_options,
    tensorrt_options,
)
from trtserve.errors import TrtserveError, of_kind
from trtserve.formats.backends import runtime_backend
from trtserve.options.batching import read_dims
from trtserve.plans.checks import explained
from trtserve.settings import Settings
from trtserve.text import sentence
from trtserve.tune.closed_loop import LEAD_IN, Clock, ClosedLoop, Request, Sample, read_shape, request_for
from trtserve.tune.report import Row, advice, table
from trtserve.tune.target import Asked, Setting, Target, find_target

ROUNDS = 3  # an odd number: the median is one of them
WARM_UP = 0.25  # of a measurement's seconds, after each load
COSTLY_LOAD = 0.25  # of a round's seconds

Say = Callable[[str], None]


@dataclass
class Outcome:
    setting: Setting
    samples: dict[int, list[Sample]] = field(default_factory=dict)  # by concurrency
    rounds: int = 0  # that are complete
    failure: str | None = None

    def rows(self) -> list[Row]:
        return [Row(self.setting, number, median(samples)) for number, samples in self.samples.items()]


def median(samples: Sequence[Sample]) -> Sample:
    return Sample(
        throughput=statistics.median(sample.throughput for sample in samples),
        p50_ms=statistics.median(sample.p50_ms for sample in samples),
        p99_ms=statistics.median(sample.p99_ms for sample in samples),
        mean_batch=statistics.median(sample.mean_batch for sample in samples),
    )


# -- which settings


def choose_settings(asked: Asked, most_items: int | None) -> list[Setting]:
    """Each once: batches of `most_items` at most, and no delay where no request waits for another."""
    settings = []
    for instances, size, delay in product(asked.instances, asked.batch, asked.delay_us):
        items = size if most_items is None else min(size, most_items)
        settings.append(Setting(instances, items, delay if items > 1 else 0))
    return list(dict.fromkeys(settings))


def most_items(info: EngineInfo, batch_dims: Mapping[str, int]) -> int | None:
    """The largest batch that any profile accepts; None if they have no bound."""
    bounds = []
    for spec in info.inputs:
        dim = batch_dims.get(spec.name, 0)
        largest = [profile.max[dim] for profile in spec.profiles if dim < len(profile.max)]
        if largest and min(largest) >= 0:
            bounds.append(max(1, *largest))
    return min(bounds, default=None)


# -- measuring


class Bench(Protocol):
    """Measures one setting after the other."""

    def loaded(self, setting: Setting) -> AbstractContextManager[float]:
        """Load the engine with the setting while the context is entered; yields the load's seconds."""

    def measure(self, concurrency: int, seconds: float) -> Sample:
        """Within loaded()."""


class EngineBench:
    """A Bench of a real engine. Its `request` must be set before it measures."""

    def __init__(self, runtime: Runtime, target: Target, asked: Asked, clock: Clock) -> None:
        self._runtime = runtime
        self._target = target
        self._asked = asked
        self._clock = clock
        self._loop: ClosedLoop | None = None
        self.request: Request | None = None

    @contextmanager
    def loaded(self, setting: Setting) -> Iterator[float]:
        began = self._clock()
        info = self._load(setting)
        try:
            yield self._clock() - began
        finally:
            self._loop = None
            self._runtime.unload(info.id, 0.0)

    def measure(self, concurrency: int, seconds: float) -> Sample:
        if self._loop is None:
            assert self.request is not None
            prepared = self._runtime.prepare(self._target.stored.id, self.request.tensors)
            self._loop = ClosedLoop(self._runtime, prepared, self.request, self._clock)
        return self._loop.measure(concurrency, seconds)

    def examine(self, shapes: Sequence[str]) -> tuple[int | None, str | None]:
        """Find the request to send. Returns most_items(), and why the engine cannot be batched if it cannot.

        Raises the errors of a load, and InvalidInput for shapes that the engine does not accept.
        """
        id = self._target.stored.id
        dims = read_dims(self._target.stored.options.batch_dims)
        unbatched = Setting(min(self._asked.instances), 1, 0)
        given = dict(map(read_shape, shapes))
        reason = None
        try:
            info = self._load(Setting(unbatched.instances, max(self._asked.batch), 0))
        except Error as failure:
            if failure.kind != "InvalidInput" or max(self._asked.batch) == 1:
                raise
            info = self._load(unbatched)  # where this fails too, it was not for the batches
            reason = str(failure)
        try:
            self.request = request_for(info, dims, given)
            self._runtime.prepare(id, self.request.tensors)
        finally:
            self._runtime.unload(id, 0.0)
        return (1 if reason else most_items(info, dims)), reason

    def _load(self, setting: Setting) -> EngineInfo:
        stored = self._target.with_setting(
            setting, self._asked.latency_target_us, max(self._asked.concurrency)
        )
        plan = self._target.plan.absolute()
        backend = runtime_backend(stored.backend, plan, self._runtime.backends())
        return self._runtime.load(stored.id, str(plan), backend, load_options(stored.options))


class Sweep:
    """All settings, in rounds. What has been measured is in `outcomes` at any time, also after Ctrl-C."""

    def __init__(self, bench: Bench, settings: Sequence[Setting], asked: Asked, say: Say) -> None:
        self._bench = bench
        self._asked = asked
        self._say = say
        self.outcomes = [Outcome(setting) for setting in settings]

    def run(self) -> None:
        asked = self._asked
        loads = len(self.outcomes) * ROUNDS
        shares = loads * (len(asked.concurrency) * (1 + LEAD_IN) + WARM_UP)
        self._say(
            f"{len(self.outcomes)} setting{'s'[: len(self.outcomes) > 1]} at concurrency "
            f"{', '.join(map(str, asked.concurrency))}, "
            f"{ROUNDS} rounds of {asked.seconds:g} s: about "
            f"{_duration(shares * asked.seconds)}, besides the loads."
        )
        for round in range(ROUNDS):
            for number, outcome in enumerate(self.outcomes, 1):
                if outcome.failure is None and outcome.rounds <= round:
                    self._say(f"round {round + 1}/{ROUNDS}, {number}/{len(self.outcomes)}: {outcome.setting}")
                    self._visit(outcome)

    def _visit(self, outcome: Outcome) -> None:
        """Measure one round of the setting, or all that are left if its load takes long."""
        levels, seconds = self._asked.concurrency, self._asked.seconds
        try:
            with self._bench.loaded(outcome.setting) as load_seconds:
                self._bench.measure(max(levels), seconds * WARM_UP)  # what is made at the first executions
                costly = load_seconds > COSTLY_LOAD * seconds * len(levels)
                for _ in range(ROUNDS - outcome.rounds if costly else 1):
                    for concurrency in levels:
                        sample = self._bench.measure(concurrency, seconds)
                        outcome.samples.setdefault(concurrency, []).append(sample)
                    outcome.rounds += 1
        except (Error, TrtserveError) as failure:
            outcome.failure = sentence(str(failure))
            self._say(outcome.failure)


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


# -- all of it


@dataclass(frozen=True)
class Report:
    lines: list[str]
    complete: bool  # False: stopped with Ctrl-C


def run(ref: str, asked: Mapping[str, Any], settings: Settings, say: Say) -> Report:
    """tune() with a runtime of its own, which TensorRT's settings apply to; `asked` is of Asked."""
    tensorrt = tensorrt_options(settings)
    check_tensorrt_libraries(tensorrt, built_backends())
    runtime = create_runtime(tensorrt=tensorrt, openvino=openvino_options(settings))
    try:
        return tune(ref, Asked(**asked), settings, runtime=runtime, say=say)
    finally:
        runtime.close()


def tune(
    ref: str,
    asked: Asked,
    settings: Settings,
    *,
    runtime: Runtime,
    say: Say,
    clock: Clock = time.perf_counter,
) -> Report:
    """Measure the plan or the stored engine that `ref` stands for.

    Raises TrtserveError if there is nothing to measure.
    """
    target = find_target(ref, settings, runtime, asked.format)
    bench = EngineBench(runtime, target, asked, clock)
    try:
        limit, reason = bench.examine(asked.shapes)
    except Error as failure:
        told = explained(runtime, target.stored.backend, target.plan, failure)
        raise of_kind(told.kind, f"{target.plan} cannot be measured: {str(told).rstrip('.')}.") from failure
    sweep = Sweep(bench, choose_settings(asked, limit), asked, say)
    try:
        sweep.run()
        complete = True
    except KeyboardInterrupt:
        complete = False
    rows = [row for outcome in sweep.outcomes for row in outcome.rows()]
    failures = [f"{o.setting}: {o.failure}" for o in sweep.outcomes if o.failure is not None]
    if complete and len(failures) == len(sweep.outcomes):
        raise of_kind("ExecutionFailed", f"No setting could be measured. {failures[0]}")
    lines = [*table(rows), ""]
    if reason is not None:
        lines += [f"Measured without batches only: {reason.rstrip('.')}.", ""]
    elif limit is not None and limit < max(asked.batch):
        lines += [f"The engine takes {limit} items at most: larger batches were left out.", ""]
    lines += [*failures, ""] if failures else []
    if complete:
        whole = [row for o in sweep.outcomes if o.failure is None for row in o.rows()]
        lines += advice(target, whole, asked)
    else:
        lines.append("Stopped before the end.")
    return Report(lines, complete)
