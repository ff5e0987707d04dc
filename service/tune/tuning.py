"""`trtserve tune`: measures settings of an engine on this machine, and says which is best."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from runtime_ext import Error, Runtime, create_runtime
from runtime_ext.backends import built_backends
from trtserve.engines.seam_options import check_tensorrt_libraries, openvino_options, tensorrt_options
from trtserve.errors import of_kind
from trtserve.plans.checks import explained
from trtserve.settings import Settings
from trtserve.tune.bench import Bench, EngineBench, Examined
from trtserve.tune.closed_loop import Clock
from trtserve.tune.commands import changes
from trtserve.tune.report import Changes, Row, advice, best, fields, table
from trtserve.tune.sweep import Sweep, choose_settings
from trtserve.tune.target import Asked, find_target
from trtserve.tune.watcher import Watcher


@dataclass(frozen=True)
class Report:
    title: str  # what was measured
    rows: list[Row]
    best: Row | None  # None: no setting keeps the bound, or the search was stopped
    commands: list[str]  # that load the engine with it; none: nothing needs to change
    notes: list[str]  # what was not measured, and why
    told: list[str]  # the result, with the commands
    complete: bool  # False: stopped with Ctrl-C

    def lines(self) -> list[str]:
        """All of it, for people."""
        return [*table(self.rows), "", *([*self.notes, ""] if self.notes else []), *self.told]

    def document(self) -> dict[str, Any]:
        """All of it, for programs."""
        return {
            "engine": self.title,
            "complete": self.complete,
            "best": None if self.best is None else fields(self.best),
            "commands": self.commands,
            "notes": self.notes,
            "rows": [fields(row) for row in self.rows],
        }


def run(ref: str, asked: Mapping[str, Any], settings: Settings, watcher: Watcher) -> Report:
    """tune() with a runtime of its own, which TensorRT's settings apply to; `asked` is of Asked."""
    tensorrt = tensorrt_options(settings)
    check_tensorrt_libraries(tensorrt, built_backends())
    runtime = create_runtime(tensorrt=tensorrt, openvino=openvino_options(settings))
    try:
        return tune(ref, Asked(**asked), settings, runtime=runtime, watcher=watcher)
    finally:
        runtime.close()


def tune(
    ref: str,
    asked: Asked,
    settings: Settings,
    *,
    runtime: Runtime,
    watcher: Watcher,
    clock: Clock = time.perf_counter,
) -> Report:
    """Measure the plan or the stored engine that `ref` stands for.

    Raises TrtserveError if there is nothing to measure.
    """
    began = clock()
    target = find_target(ref, settings, runtime, asked.format)
    bench = EngineBench(runtime, target, asked, clock)
    try:
        examined = bench.examine(asked.shapes)
    except Error as failure:
        reason = explained(runtime, target.stored.backend, target.plan, failure)
        raise of_kind(
            reason.kind, f"{target.plan} cannot be measured: {str(reason).rstrip('.')}."
        ) from failure
    title = target.name or str(target.stored.id)
    told = partial(changes, target, asked=asked)
    return search(bench, examined, asked, watcher, title=title, changes=told, clock=clock, began=began)


def search(
    bench: Bench,
    examined: Examined,
    asked: Asked,
    watcher: Watcher,
    *,
    title: str,
    changes: Changes,
    clock: Clock,
    began: float,
) -> Report:
    """Find the best setting. `changes` gives it to the engine; the budget runs since `began`."""
    limit, why_unbatched, load_seconds = examined
    sweep = Sweep(bench, choose_settings(asked, limit), asked, watcher, clock)
    try:
        sweep.run(load_seconds, began)
        complete = True
    except KeyboardInterrupt:
        complete = False
    failures, rows = list(sweep.failures()), sweep.chosen_from()
    if complete and not rows:
        raise of_kind("ExecutionFailed", f"No setting could be measured. {failures[0]}")
    notes = []
    if why_unbatched is not None:
        notes.append(f"Measured without batches only: {why_unbatched.rstrip('.')}.")
    elif limit is not None and limit < max(asked.batch):
        notes.append(f"The engine takes {limit} items at most: larger batches were left out.")
    notes += failures
    if not complete:
        return Report(title, sweep.rows(), None, [], notes, ["Stopped before the end."], complete)
    chosen = best(rows, asked.latency_ms)
    commands = [] if chosen is None else changes(chosen.setting)
    return Report(title, sweep.rows(), chosen, commands, notes, advice(rows, asked, changes), complete)
