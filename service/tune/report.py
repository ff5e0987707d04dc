"""Chooses the best of the measured settings, and reports it."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

from trtserve import text
from trtserve.options.batching import AUTO, NEVER
from trtserve.options.engine_options import EngineOptions
from trtserve.tune.closed_loop import Sample
from trtserve.tune.target import Asked, Setting, Target

CHOSEN = {
    "instances",
    "max_batch_size",
    "max_queue_delay_us",
    "latency_target_us",
    "preferred_batch_sizes",
}
"""Options that a setting decides, and is told with."""
EQUAL = 0.02  # a difference in throughput below this share is noise


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


def advice(target: Target, rows: Sequence[Row], asked: Asked) -> list[str]:
    """The best setting, and the commands that load the engine with it."""
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
    told_to = changes(target, chosen.setting, asked)
    if not told_to:
        return [
            f"{told} {chosen.setting}.",
            "The store has it with this setting already: nothing needs to change.",
        ]
    return [told, *told_to]


def changes(target: Target, setting: Setting, asked: Asked) -> list[str]:
    """commands(), or none if a store has the engine with this setting."""
    if target.in_store and setting == _stored(target):
        return []
    return commands(target, setting, asked)


def _stored(target: Target) -> Setting:
    stored = target.stored.options
    if stored.max_batch_size == 1 or stored.max_queue_delay_us == NEVER:
        return Setting(stored.instances, 1, 0)
    # Only a load knows what automatic batches are: no setting is the same.
    most = 0 if stored.max_batch_size == AUTO else stored.max_batch_size
    return Setting(stored.instances, most, stored.max_queue_delay_us)


def commands(target: Target, setting: Setting, asked: Asked) -> list[str]:
    """Commands to paste into a shell. An engine of a store must be removed first, with its plan."""
    if not target.in_store:
        return [_add_command(target, str(target.plan), setting, asked)]
    copy = f"{target.name or target.stored.id}.plan"
    others = sorted(set(target.names) - {target.name})
    note = [f"# its other names go too, so add it again under each: {', '.join(others)}"] if others else []
    return [
        *note,
        shlex.join(["cp", str(target.plan), copy]) + " &&",  # or else nothing is removed
        shlex.join(["trtserve", "engines", "rm", str(target.stored.id)]) + " &&",
        _add_command(target, copy, setting, asked),
    ]


def _add_command(target: Target, plan: str, setting: Setting, asked: Asked) -> str:
    wanted = target.with_setting(setting, asked.latency_target_us, max(asked.concurrency))
    options: dict[str, object] = {}
    if target.name is not None:
        options["name"] = target.name
    if not target.format_told:
        options["format"] = wanted.format
    for option, value in wanted.options:
        # as it was measured, also on a server that was started with other settings
        if option not in CHOSEN and value != EngineOptions.model_fields[option].default:
            options[option] = value
    options |= {"instances": setting.instances, "max_batch_size": setting.max_batch_size}
    if setting.max_batch_size > 1:
        options["max_queue_delay_us"] = setting.max_queue_delay_us
        if setting.max_queue_delay_us == AUTO:
            options["latency_target_us"] = wanted.options.latency_target_us
        if wanted.options.preferred_batch_sizes:
            options["preferred_batch_sizes"] = wanted.options.preferred_batch_sizes
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return shlex.join(["trtserve", "engines", "add", plan, *words])
