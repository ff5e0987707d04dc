"""Prometheus metrics: the runtime's statistics and the registry's states, collected at each scrape."""

from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from runtime_ext import Duration, EngineInfo, EngineStats, Error, Runtime
from trtserve.engines.engine import Engine, State
from trtserve.engines.exposition import EngineFamilies, write
from trtserve.engines.registry import Registry
from trtserve.engines.residency_metrics import ResidencySeen, residency_metrics
from trtserve.errors import HTTP_STATUS
from trtserve.options.devices import left_out
from trtserve.telemetry.exemplars import Exemplar, Exemplars
from trtserve.workers import SCRAPES

NANOSECONDS = 1e9  # in a second

OfStats = Callable[[Sequence[EngineStats]], Iterator[Metric]]
"""Makes families of the engines' statistics; called on any thread."""


class Wanted(NamedTuple):
    """What of the page a client asks for."""

    names: Collection[str] = ()  # of families, a counter's with or without its `_total`; none: all
    engines: Collection[int] = ()  # IDs: of the engines' series only theirs; none: all

    def has(self, family: Metric) -> bool:
        return not self.names or family.name in self.names or f"{family.name}_total" in self.names


ALL = Wanted()


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, runtime: Runtime, registry: Registry, exemplars: Exemplars | None = None) -> None:
        """`exemplars`: the traced requests that the page shows to who accepts OpenMetrics."""
        self.registry = CollectorRegistry()
        self.errors = Counter("trtserve_errors", "Error answers, by code.", ["code"], registry=self.registry)
        # A rate sees the first error of a code only if its counter was there before.
        for code in HTTP_STATUS:
            self.errors.labels(code)
        self._looks: list[Callable[[], None]] = []
        self._engines = EngineCollector(runtime, registry, exemplars)
        self.add(self._engines, self._engines.look)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    async def page(self, accepted: str, wanted: Wanted = ALL) -> tuple[bytes, str]:
        """The metrics page and its Content-Type, for the client's Accept header. Call it on the event loop.

        With many engines the page has megabytes, so a thread writes it.
        """
        self.look()
        encode, media_type = choose_encoder(accepted)
        return await SCRAPES.run(self._write, wanted, encode, "openmetrics" in media_type), media_type

    def _write(
        self, wanted: Wanted, encode: Callable[[CollectorRegistry], bytes], openmetrics: bool
    ) -> bytes:
        """On the one thread of scrapes."""
        self._engines.only = wanted.engines
        families = [family for family in self.registry.collect() if wanted.has(family)]
        return write(families, encode, openmetrics=openmetrics)

    def look(self) -> None:
        """Read, on the event loop, the state that belongs to it, for the next collection on any thread."""
        for look in self._looks:
            look()

    def add(self, collector: Collector, look: Callable[[], None] | None = None) -> None:
        """Add the collector's metrics to the page, from now on. `look` is called as part of look()."""
        self.registry.register(collector)
        if look is not None:
            self._looks.append(look)

    def add_of_stats(self, make: OfStats, look: Callable[[], None]) -> None:
        """Add families of the engines' statistics, which a scrape reads once for all. `look`: as of add()."""
        self._engines.further.append(make)
        self._looks.append(look)


class _SeenEngine(NamedTuple):
    state: State
    id: int
    name: str
    info: EngineInfo | None
    asked: str  # the option `device`
    load_seconds: float | None
    cold_start_seconds: float | None

    @property
    def devices(self) -> list[str]:
        return self.info.devices if self.info else []


@dataclass(slots=True)
class _Seen:
    """What belongs to the event loop, as it was at one moment."""

    dead: Mapping[str, str] = field(default_factory=dict)  # devices
    engines: list[_SeenEngine] = field(default_factory=list)
    numbers: list[tuple[str, str, int]] = field(default_factory=list)  # name, meaning, value
    builds: Mapping[str, int] = field(default_factory=dict)  # by outcome
    residency: ResidencySeen = field(default_factory=ResidencySeen)


class EngineCollector(Collector):
    """Collects, on any thread, what the runtime knows and what look() has seen."""

    def __init__(self, runtime: Runtime, registry: Registry, exemplars: Exemplars | None = None) -> None:
        self._runtime = runtime
        self._exemplars = exemplars
        self._registry = registry
        self._seen = _Seen()
        self.further: list[OfStats] = []
        self.only: Collection[int] = ()  # engines; none: all. Set by Metrics before each page

    def look(self) -> None:
        """Read, on the event loop, the state that belongs to it: little, since it is of every engine."""
        registry = self._registry
        engines = [
            _SeenEngine(
                engine.state,
                engine.id,
                _name(engine),
                engine.info,
                engine.stored.options.device,
                engine.load_seconds,
                engine.past.cold_start_seconds,
            )
            for engine in registry.engines()
        ]
        numbers = [
            (
                "trtserve_engines_retried",
                "Stored engines whose load is retried, because memory, threads or descriptors are short.",
                len(registry.load_problems()),
            ),
            (
                "trtserve_loads_waiting",
                "Uploads and loads that wait for their turn.",
                registry.loads_waiting,
            ),
            (
                "trtserve_builds_waiting",
                "Builds of plans that wait for their device.",
                registry.builds.waiting,
            ),
            (
                "trtserve_loads_given_up",
                "Loads that were given up because they took too long, and have not ended.",
                registry.loads_given_up,
            ),
        ]
        self._seen = _Seen(
            self._runtime.dead_devices(),
            engines,
            numbers,
            dict(registry.builds.outcomes),
            ResidencySeen.of(registry),
        )

    def collect(self) -> Iterator[Metric]:
        stats = [engine for engine in self._runtime.stats() if self._is_wanted(engine.id)]
        families = EngineFamilies(stats)  # of each engine and each name that it was called by
        own = EngineFamilies(
            [engine for engine in stats if engine.is_own]
        )  # what it has once, whatever the name
        yield families.counters(
            "trtserve_requests", "Requests by engine and outcome.", "outcome", attrgetter("outcomes")
        )
        for part, meaning in (
            ("queue", "Seconds from a successful request's arrival to the start of its execution."),
            ("compute", "Seconds of a successful request's execution, joined requests included."),
            ("total", "Seconds from a successful request's arrival to its completion."),
            ("failed", "Seconds from a failed request's arrival to its completion; 0 for a refused one."),
        ):
            of = self._exemplars_of if part == "total" and self._exemplars is not None else None
            yield families.histogram(f"trtserve_request_{part}_seconds", meaning, attrgetter(part), of)
        for phase, what in (
            ("input", "joining the inputs"),
            ("infer", "the engine"),
            ("output", "the outputs"),
        ):
            meaning = f"Seconds that {what} took in successful requests' executions, per request."
            seconds = _seconds(attrgetter(f"compute_{phase}"))
            yield families.counter(f"trtserve_request_compute_{phase}_seconds", meaning, seconds)
        yield own.histogram(
            "trtserve_call_seconds",
            "Seconds of a successful execution that an operator ran for a module.",
            attrgetter("calls"),
        )
        yield families.histogram(
            "trtserve_batch_items",
            "Items of a successful execution, of all its joined requests or of a module's call.",
            attrgetter("batch"),
        )
        yield own.gauge("trtserve_queue_depth", "Waiting requests.", attrgetter("queue_depth"))
        yield own.gauge("trtserve_instances", "Instances of an engine.", attrgetter("instances"))
        yield own.gauge(
            "trtserve_instances_busy",
            "Instances that run a batch or wait for their turn.",
            attrgetter("instances_busy"),
        )
        yield own.gauge(
            "trtserve_executions_stuck",
            "Executions that have not ended within stuck_after_s.",
            attrgetter("executions_stuck"),
        )
        yield own.counter(
            "trtserve_execution_failures",
            "Executions that failed, except those where a request's own input was to blame.",
            attrgetter("failed_executions"),
        )
        yield own.counter(
            "trtserve_batches_undivided",
            "Batches whose outputs did not have one item per input item, so that requests ran one by one.",
            attrgetter("undivided_batches"),
        )
        yield from _backend(own, stats)
        yield from self._left_behind()
        yield from self._server()
        yield from self._each_engine()
        yield from residency_metrics(self._seen.residency)
        for make in self.further:
            yield from make(stats)

    def _is_wanted(self, id: int) -> bool:
        return not self.only or id in self.only

    def _exemplars_of(self, engine: EngineStats) -> Mapping[int, Exemplar]:
        name = engine.name or str(engine.id)
        return {} if self._exemplars is None else self._exemplars.of(engine.id, name)

    def _left_behind(self) -> Iterator[Metric]:
        ever, running = self._runtime.left_behind()
        yield CounterMetricFamily(
            "trtserve_instances_abandoned",
            "Instances that an unload left behind with an unfinished execution.",
            value=ever,
        )
        yield GaugeMetricFamily(
            "trtserve_instances_left_behind",
            "Abandoned instances whose execution has not ended: they keep threads and memory.",
            value=running,
        )

    def _server(self) -> Iterator[Metric]:
        seen = self._seen
        devices = GaugeMetricFamily(
            "trtserve_device_dead", "1 for a device that only a restart can revive.", labels=["device"]
        )
        used = {device for engine in seen.engines for device in engine.devices}
        for device in sorted(used | seen.dead.keys()):
            devices.add_metric([device], int(device in seen.dead))
        yield devices
        states = GaugeMetricFamily("trtserve_engines", "Engines by state.", labels=["state"])
        in_state = Tally(engine.state for engine in seen.engines)
        for state in State:
            states.add_metric([state.value], in_state[state])
        yield states
        for name, meaning, value in seen.numbers:
            yield GaugeMetricFamily(name, meaning, value)
        builds = CounterMetricFamily(
            "trtserve_builds", "Builds of plans that have ended, by outcome.", labels=["outcome"]
        )
        for outcome, count in seen.builds.items():
            builds.add_metric([outcome], count)
        yield builds

    def _each_engine(self) -> Iterator[Metric]:
        dead = self._seen.dead.keys()
        families = EngineFamilies([engine for engine in self._seen.engines if self._is_wanted(engine.id)])

        def lost(engine: _SeenEngine) -> int | None:
            if engine.state is not State.READY:
                return None
            devices = [*engine.devices, *left_out(engine.asked, engine.devices, dead)]
            return sum(device in dead for device in devices) if len(devices) > 1 else None

        yield families.gauge(
            "trtserve_engine_replicas_lost",
            "Devices of a READY engine that are dead, or were when it was loaded, where it has several.",
            lost,
        )
        yield families.gauge(
            "trtserve_engine_load_seconds", "Seconds that the engine's load took.", attrgetter("load_seconds")
        )
        yield families.gauge(
            "trtserve_engine_cold_start_seconds",
            "Seconds that the engine's last load for a request took, with the wait for memory.",
            attrgetter("cold_start_seconds"),
        )
        yield families.gauges(
            "trtserve_engine_memory_bytes",
            "Bytes that a loaded engine takes, by device and kind.",
            ("device", "kind"),
            self._memory,
        )

    def _memory(self, engine: _SeenEngine) -> dict[tuple[str, ...], int]:
        """Asked here, on the scrape's thread, since each engine is a call."""
        if engine.state is not State.READY:
            return {}
        try:
            memory = self._runtime.memory(engine.id)
        except Error:  # it was unloaded meanwhile
            return {}
        return {(device, kind): size for device, kinds in memory.items() for kind, size in kinds.items()}


def _name(engine: Engine) -> str:
    """The name in its statistics. An engine that is not loaded keeps it, or has that of its next load."""
    if engine.past.name is not None:
        return engine.past.name
    return engine.names[0].name if engine.names else ""


def _seconds(duration: Callable[[EngineStats], Duration]) -> Callable[[EngineStats], float]:
    return lambda engine: duration(engine).ns / NANOSECONDS


def _backend(families: EngineFamilies[EngineStats], stats: Sequence[EngineStats]) -> Iterator[Metric]:
    """Numbers that only the engines' backends know, under the names that each backend gives."""
    counters = {engine.id: counts for engine in stats if (counts := engine.counters)}
    for name in sorted({name for counts in counters.values() for name in counts}):

        def value(engine: EngineStats, name: str = name) -> int | None:
            return counters.get(engine.id, {}).get(name)

        make = families.gauge if name.endswith("_bytes") else families.counter
        meaning = f"{name.replace('_', ' ').capitalize()}, as the engine's backend counts them."
        yield make(f"trtserve_backend_{name}", meaning, value)
