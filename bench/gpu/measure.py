"""Measures every way in turn, round after round, and takes the medians."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx
import numpy as np

from bench.gpu import WayFailed
from bench.gpu.in_process import InProcess
from bench.gpu.raw import Raw
from bench.gpu.served import Served
from runtime_ext import Error

BATCHES = (1, 8, 32)
Row = dict[str, Any]
Key = tuple[str, int, bool]  # way, batch, graphs
Failures = dict[Key, str]
Way = Callable[[np.ndarray, bool, float], dict[str, float]]
Answer = Callable[[np.ndarray, bool], np.ndarray]
MOST_DIFFERENT = 0.02  # in fp16, if the instances' kernels add in another order

RAW, RAW_WITH_COPIES, RAW_LONE = "raw", "raw with copies", "raw, lone"
OPERATOR, MODULE, SCHEDULER = "operator", "module", "scheduler"
HTTP, SHARED_MEMORY = "HTTP", "HTTP, shared memory"
LONE_HTTP, LONE_SHARED_MEMORY = "HTTP, lone", "HTTP, shared memory, lone"


def ways(raw: Raw, in_process: InProcess, served: Served) -> dict[str, Way]:
    """Every way, by its name in the report; those of a lone request run batches of 1 only."""

    def bare(what: str, x: np.ndarray, graphs: bool, seconds: float) -> dict[str, float]:
        return raw.measure(what, len(x), graphs, seconds)

    return {
        RAW: partial(bare, "loop"),
        RAW_WITH_COPIES: partial(bare, "copies"),
        OPERATOR: in_process.operator,
        MODULE: in_process.module,
        SCHEDULER: in_process.scheduler,
        HTTP: served.http,
        SHARED_MEMORY: served.shared_memory,
        RAW_LONE: partial(bare, "lone"),
        LONE_HTTP: served.lone_http,
        LONE_SHARED_MEMORY: served.lone_shared_memory,
    }


def answerers(in_process: InProcess, served: Served) -> dict[str, Answer]:
    """What gives each way's answer, as the values of all outputs."""
    return {
        OPERATOR: in_process.operator_answer,
        SCHEDULER: in_process.scheduler_answer,
        HTTP: served.http_answer,
        SHARED_MEMORY: served.shared_memory_answer,
    }


def measure(
    all_ways: dict[str, Way], x: np.ndarray, failed: Failures, *, rounds: int, seconds: float
) -> list[Row]:
    """One row for each way, batch and use of graphs: the medians over the rounds of all that was measured.

    `x` is the largest batch; the others are its beginnings. What is in `failed`, or fails, is left out.
    """
    samples: dict[Key, list[dict[str, float]]] = defaultdict(list)
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        for key in _turn(list(all_ways), number):
            way, batch, graphs = key
            if key not in failed:
                with _noting(key, failed):
                    samples[key].append(all_ways[way](x[:batch], graphs, seconds))
    return [_row(key, measured) for key, measured in samples.items() if key not in failed]


def _turn(names: list[str], number: int) -> Iterator[Key]:
    """All that a round measures; each way begins in its turn."""
    for graphs in (False, True):
        for batch in BATCHES:
            these = [name for name in names if batch == 1 or not name.endswith("lone")]
            first = number % len(these)
            for name in these[first:] + these[:first]:
                yield name, batch, graphs


@contextmanager
def _noting(key: Key, failed: Failures) -> Iterator[None]:
    try:
        yield
    except (WayFailed, Error, httpx.HTTPError) as failure:
        failed[key] = str(failure)
        print(f"{key[0]}, batch {key[1]}, graphs {'on' if key[2] else 'off'} failed: {failure}", flush=True)


def _row(key: Key, measured: list[dict[str, float]]) -> Row:
    way, batch, graphs = key
    names = dict.fromkeys(name for sample in measured for name in sample)
    medians = {name: statistics.median(sample.get(name, 0.0) for sample in measured) for name in names}
    per_second = medians.pop("per_second", 0.0)
    return {
        "way": way,
        "batch": batch,
        "graphs": graphs,
        "items_per_second": per_second * batch,
        "rounds_items_per_second": [sample.get("per_second", 0.0) * batch for sample in measured],
        "details": medians,
    }


def check_answers(raw: Raw, answers: dict[str, Answer], x: np.ndarray, failed: Failures) -> float:
    """The greatest difference of any way's answer from the raw loop's, as a share of its largest value.

    Adds the ways whose answer is another one to `failed`.
    """
    worst = 0.0
    for batch in BATCHES:
        for graphs in (False, True):
            expected = raw.answer(x[:batch], graphs)
            for way, answer in answers.items():
                with _noting((way, batch, graphs), failed):
                    answer(x[:batch], graphs)  # with graphs, the next one is a replay
                    worst = max(worst, _difference(answer(x[:batch], graphs), expected))
    return worst


def _difference(answer: np.ndarray, expected: np.ndarray) -> float:
    if answer.shape != expected.shape or not np.isfinite(answer).all():
        raise WayFailed(f"the answer has {answer.size} values, not {expected.size}, or not only numbers")
    largest = float(np.abs(expected).max()) or 1.0
    difference = float(np.abs(answer - expected).max()) / largest
    if difference > MOST_DIFFERENT:
        raise WayFailed(f"the answer differs from the raw loop's by {difference:.1%} of its largest value")
    return difference
