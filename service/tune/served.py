"""Tunes an engine of a server in place: it gets each setting while it serves, and load over HTTP.

So the figures have everything in them that a client meets. Whoever else uses the engine meets the settings.
"""

import asyncio
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import uvloop

from trtserve.client import Client
from trtserve.client.connection import DEFAULT_URL
from trtserve.client.engine_rates import Look
from trtserve.client.load import Target, load
from trtserve.client.random_inputs import inputs_for
from trtserve.errors import ExecutionFailed, InvalidInput, TrtserveError, Unavailable
from trtserve.options.batching import AUTO
from trtserve.text import sentence
from trtserve.tune.bench import Examined
from trtserve.tune.closed_loop import LEAD_IN, Clock, Sample
from trtserve.tune.target import Asked, Setting
from trtserve.tune.tuning import Report, search
from trtserve.tune.watcher import Watcher

SEEN_IN = ("trtserve_requests", "trtserve_batch_items")


def tune_served(
    client: Client,
    ref: str,
    asked: Mapping[str, Any],
    watcher: Watcher,
    *,
    apply: bool,
    clock: Clock = time.perf_counter,
) -> Report:
    """Measure the engine that the server has under `ref`; `asked` is of Asked.

    In the end the engine has the options that it had, or with `apply` the best setting. Raises TrtserveError
    if there is nothing to measure, and if the engine does not get its options back.
    """
    began = clock()
    wanted = Asked(**asked)
    engine = client.engine(ref)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        bench = ServedBench(client, engine, wanted, runner, clock)
        kept: Setting | None = None
        try:
            report = search(
                bench,
                bench.examine(),
                wanted,
                watcher,
                title=ref,
                changes=bench.command,
                clock=clock,
                began=began,
            )
            if apply and report.best is not None:
                kept = report.best.setting
        finally:
            bench.finish(kept)
    return report


class ServedBench:
    """A Bench of an engine that a server has. Blocks; for one thread."""

    closing_loads = 1  # see finish()

    def __init__(
        self,
        client: Client,
        engine: Mapping[str, Any],
        asked: Asked,
        runner: asyncio.Runner,
        clock: Clock,
    ) -> None:
        """Raises InvalidInput for shapes that the engine does not have, and what refuses the request."""
        self._client = client
        self._engine = engine
        self._asked = asked
        self._runner = runner
        self._clock = clock
        id, inputs = engine["id"], inputs_for(engine, asked.shapes)
        client.infer(id, inputs)  # a refusal is told before anything is changed
        self._target = Target.of(client.infer_request(id, inputs))
        self._items = _items(engine["inputs"], engine["batch_dims"], inputs)

    def examine(self) -> Examined:
        """What the engine takes. Raises what keeps it from having other options."""
        most = max(self._asked.batch)
        reason = None
        began = self._clock()
        try:
            self._change(Setting(min(self._asked.instances), most, 0))
        except InvalidInput as failure:
            if most == 1:
                raise
            began = self._clock()
            self._change(Setting(min(self._asked.instances), 1, 0))
            reason = str(failure)
        seconds = self._clock() - began
        return Examined(1 if reason else most_items(self._engine), reason, seconds)

    @contextmanager
    def loaded(self, setting: Setting) -> Iterator[float]:
        """The engine keeps the setting until it gets another one."""
        began = self._clock()
        self._change(setting)
        yield self._clock() - began

    def measure(self, concurrency: int, seconds: float) -> Sample:
        """Times are the client's. Raises ExecutionFailed if a request failed."""
        before = self._look()
        run = load(self._target, concurrency, seconds, lead_in_s=LEAD_IN * seconds)
        measured = self._runner.run(run)
        after = self._look()
        if measured.errors or not measured.latencies_s:
            raise ExecutionFailed(
                f"{measured.errors.total()} requests failed at concurrency {concurrency}: "
                f"{measured.example or 'none was answered.'}"
            )
        requests, executions = (now - then for now, then in zip(after, before, strict=True))
        return Sample(
            throughput=measured.per_second * self._items,
            p50_ms=measured.percentile_ms(0.50) or 0.0,
            p99_ms=measured.percentile_ms(0.99) or 0.0,
            mean_batch=requests / max(1.0, executions),
            seconds=measured.seconds,
        )

    def finish(self, kept: Setting | None) -> None:
        """Give the engine this setting for good, or else the options that it had."""
        if kept is not None:
            self._change(kept)
            return
        former = self._former()
        try:
            self._client.change(self._engine["id"], **former)
        except TrtserveError as failure:
            raise Unavailable(
                f"{sentence(str(failure))} So the engine has other options than before. To give it those: "
                f"{self._command(former)}"
            ) from failure

    def command(self, setting: Setting) -> list[str]:
        """The command that gives the engine the setting; none if it had it before."""
        engine = self._engine
        batches = engine["max_batch_size"]
        had = Setting(engine["instances"], batches, engine["max_queue_delay_us"] if batches > 1 else 0)
        former, searched = self._former(), ("instances", "max_batch_size", "max_queue_delay_us")
        options = {
            name: value
            for name, value in self._options(setting).items()
            if name in searched or value != former[name]
        }
        return [] if setting == had else [self._command(options)]

    def _command(self, options: Mapping[str, Any]) -> str:
        words = ["trtserve", "engines", "set", str(self._engine["name"] or self._engine["id"])]
        for name, value in options.items():
            option = name.replace("_", "-")
            words += ["--default", option] if value is None else [f"--{option}", str(value)]
        if self._client.url != DEFAULT_URL:
            words += ["--server", self._client.url]
        return shlex.join(words)

    def _change(self, setting: Setting) -> None:
        self._client.change(self._engine["id"], **self._options(setting))

    def _options(self, setting: Setting) -> dict[str, Any]:
        engine = self._engine
        kept = [size for size in engine["preferred_batch_sizes"] if size <= setting.max_batch_size]
        options: dict[str, Any] = {
            "instances": setting.instances,
            "max_batch_size": setting.max_batch_size,
            "max_queue_delay_us": setting.max_queue_delay_us,
            "preferred_batch_sizes": ",".join(map(str, kept)),
            "max_queue_size": max(engine["max_queue_size"], *self._asked.concurrency),
        }
        if setting.max_queue_delay_us == AUTO:
            options["latency_target_us"] = self._asked.latency_target_us
        return options

    def _former(self) -> dict[str, Any]:
        """What was asked for when the engine got its options; 0 instances are the server's choice."""
        engine = self._engine
        return {
            "instances": engine["asked"]["instances"] or None,
            "max_batch_size": engine["asked"]["max_batch_size"],
            "max_queue_delay_us": engine["max_queue_delay_us"],
            "preferred_batch_sizes": ",".join(map(str, engine["preferred_batch_sizes"])),
            "max_queue_size": engine["max_queue_size"],
            "latency_target_us": engine["latency_target_us"],
        }

    def _look(self) -> tuple[float, float]:
        """Requests that succeeded, and executions, whatever name they came by."""
        found = Look(self._client.metrics(SEEN_IN, [self._engine["id"]]), 0.0).engines.values()
        return (
            sum(engine.requests.get("Success", 0.0) for engine in found),
            sum(engine.executions for engine in found),
        )


def most_items(engine: Mapping[str, Any]) -> int | None:
    """The largest batch that any profile of the engine accepts; None if they have no bound."""
    bounds = []
    for spec in engine["inputs"]:
        dim = engine["batch_dims"].get(spec["name"], 0)
        largest = [profile["max"][dim] for profile in spec["profiles"] if dim < len(profile["max"])]
        if largest and min(largest) >= 0:
            bounds.append(max(1, *largest))
    return min(bounds, default=None)


def _items(specs: Sequence[Mapping[str, Any]], dims: Mapping[str, int], inputs: Mapping[str, Any]) -> int:
    """The first input's length along its batch dimension if that is dynamic; otherwise 1."""
    for spec in specs:
        dim, shape = dims.get(spec["name"], 0), inputs[spec["name"]].shape
        is_dynamic = spec["shape"] is None or (dim < len(spec["shape"]) and spec["shape"][dim] < 0)
        return int(shape[dim]) if is_dynamic and dim < len(shape) else 1
    return 1
