"""Chooses the best of the measured settings, and reports it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from trtserve import text
from trtserve.tune.closed_loop import Sample
from trtserve.tune.target import Asked, Setting

EQUAL = 0.02  # a difference in throughput below this share is noise


Changes = Callable[[Setting], list[str]]
"""The commands that give the engine a setting; none if it has that already."""


class Row(NamedTuple):
    setting: Setting
    concurrency: int
    sample: Sample  # the medians of the rounds


def best(rows: Sequence[Row], latency_ms: float) -> Row | None:
    """The most throughput of all settings, each at the highest concurrency at which its p99 is in bounds.

    Of those that are equal but for noise: the highest concurrency, the fewest instances, the least delay.
    """
    rows_held = held(rows, latency_ms).values()
    most = max((row.sample.throughput for row in rows_held), default=0.0)
    equal = [row for row in rows_held if row.sample.throughput >= most * (1 - EQUAL)]
    return min(equal, key=_preference, default=None)


def held(rows: Sequence[Row], latency_ms: float) -> dict[Setting, Row]:
    """Of each setting the row with the highest concurrency at which its p99 is in bounds."""
    found: dict[Setting, Row] = {}
    for row in rows:
        before = found.get(row.setting)
        if row.sample.p99_ms <= latency_ms and (before is None or row.concurrency > before.concurrency):
            found[row.setting] = row
    return found


def _preference(row: Row) -> tuple[float, ...]:
    setting = row.setting
    delay = setting.max_queue_delay_us
    # auto leaves who is alone alone, which no other delay does but none
    waits = 0.5 if isinstance(delay, str) else float(delay)
    return (-row.concurrency, setting.instances, waits, setting.max_batch_size, -row.sample.throughput)


COLUMNS = (
    "instances",
    "max batch",
    "delay us",
    "concurrency",
    "items/s",
    "p50 ms",
    "p99 ms",
    "mean batch",
    "seconds",
)


def table(rows: Sequence[Row]) -> list[str]:
    return text.table(COLUMNS, [_cells(row) for row in rows], right=True)


def _cells(row: Row) -> list[str]:
    setting, sample = row.setting, row.sample
    return [
        str(setting.instances),
        str(setting.max_batch_size),
        str(setting.max_queue_delay_us) if setting.max_batch_size > 1 else "-",
        str(row.concurrency),
        f"{sample.throughput:.4g}" if sample.throughput < 1000 else f"{sample.throughput:.0f}",
        f"{sample.p50_ms:.3f}",
        f"{sample.p99_ms:.3f}",
        f"{sample.mean_batch:.1f}",
        f"{sample.seconds:.2f}",
    ]


def fields(row: Row) -> dict[str, Any]:
    """The row for programs; throughput in items a second."""
    return {**asdict(row.setting), "concurrency": row.concurrency, **asdict(row.sample)}


def line(row: Row) -> str:
    """The row as a line below the names of the columns, without knowing the others."""
    cells = zip(_cells(row), COLUMNS, strict=True)
    return "  ".join(cell.rjust(len(column)) for cell, column in cells)


def advice(rows: Sequence[Row], asked: Asked, changes: Changes) -> list[str]:
    """The best setting, and the commands that give it to the engine."""
    chosen = best(rows, asked.latency_ms)
    if chosen is None:
        fastest = min(rows, key=lambda row: row.sample.p99_ms)
        return [
            f"No setting keeps the p99 within {asked.latency_ms:g} ms. The fastest p99 is "
            f"{fastest.sample.p99_ms:.3f} ms, at concurrency {fastest.concurrency} with {fastest.setting}."
        ]
    told = (
        f"Best with a p99 within {asked.latency_ms:g} ms: {_cells(chosen)[4]} items/s at concurrency "
        f"{chosen.concurrency}, p99 {chosen.sample.p99_ms:.3f} ms, with"
    )
    told_to = changes(chosen.setting)
    if not told_to:
        return [f"{told} {chosen.setting}.", "The engine has this setting already: nothing needs to change."]
    return [told, *told_to]
