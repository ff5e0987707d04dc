"""Measures every way in turn, round after round, and takes the medians."""

import statistics
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from bench.gpu.in_process import InProcess
from bench.gpu.raw import Raw
from bench.gpu.served import Served

BATCHES = (1, 8, 32)
Row = dict[str, Any]
Key = tuple[str, int, bool]  # way, batch, graphs
Way = Callable[[np.ndarray, bool, float], dict[str, float]]

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


def measure(all_ways: dict[str, Way], x: np.ndarray, rounds: int, seconds: float) -> list[Row]:
    """One row for each way, batch and use of graphs: the medians over the rounds of all that was measured.

    `x` is the largest batch; the others are its beginnings.
    """
    samples: dict[Key, list[dict[str, float]]] = defaultdict(list)
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        for graphs in (False, True):
            for batch in BATCHES:
                names = [name for name in all_ways if batch == 1 or not name.endswith("lone")]
                turn = number % len(names)
                for name in names[turn:] + names[:turn]:
                    samples[name, batch, graphs].append(all_ways[name](x[:batch], graphs, seconds))
    return [_row(key, measured) for key, measured in samples.items()]


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


def check_answers(raw: Raw, in_process: InProcess, served: Served, x: np.ndarray) -> float:
    """The greatest difference of any way's answer from the raw loop's, as a share of its largest value.

    Exits if a way's answer is another one.
    """
    worst = 0.0
    for batch in BATCHES:
        for graphs in (False, True):
            expected = raw.answer(x[:batch], graphs)
            for _ in range(2):  # with graphs, the second is a replay
                answers = in_process.answers(x[:batch], graphs) | served.answers(x[:batch], graphs)
            for way, answer in answers.items():
                if answer.shape != expected.shape or not np.isfinite(answer).all():
                    raise SystemExit(f"error: {way}, batch {batch}: {answer.shape}, not {expected.shape}")
                off = float(np.abs(answer - expected).max() / max(1e-30, float(np.abs(expected).max())))
                if off > 0.02:
                    raise SystemExit(f"error: {way}, batch {batch}, differs from the raw loop by {off:.1%}")
                worst = max(worst, off)
    return worst
