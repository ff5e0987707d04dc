"""Prometheus metrics: the runtime's statistics and the registry's states, collected at each scrape."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from runtime_ext import EngineStats, Histogram, Runtime
from trtserve.engines.engine import State
from trtserve.engines.registry import Registry
from trtserve.workers import SCRAPES

ENGINE_LABELS = ("engine", "id")
NANOSECONDS = 1e9  # in a second


class Metrics:
    """The metrics of one server, in a registry of its own."""

    def __init__(self, runtime: Runtime, registry: Registry) -> None:
        self.registry = CollectorRegistry()
        self.errors = Counter("trtserve_errors", "Error answers, by code.", ["code"], registry=self.registry)
        self._engines = EngineCollector(runtime, registry)
        self.registry.register(self._engines)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    async def page(self, accepted: str) -> tuple[bytes, str]:
        """The metrics page and its Content-Type, for the client's Accept header. Call it on the event loop.

        With many engines the page has megabytes, so a thread writes it.
        """
        self.look()
        encode, media_type = choose_encoder(accepted)
        return await SCRAPES.run(encode, self.registry), media_type

    def look(self) -> None:
        """Read, on the event loop, the state that belongs to it, for the next collection on any thread."""
        self._engines.look()

    def add(self, collector: Collector) -> None:
        """Add the collector's metrics to the page, from now on."""
        self.registry.register(collector)


class EngineCollector(Collector):
    """Collects, on any thread, what the runtime knows and what look() has seen."""

    def __init__(self, runtime: Runtime, registry: Registry) -> None:
        self._runtime = runtime
        self._registry = registry
        self._seen: list[Metric] = []

    def look(self) -> None:
        """Read, on the event loop, the state that belongs to it."""
        self._seen = [self._devices(), *self._engines()]

    def collect(self) -> Iterator[Metric]:
        stats = self._runtime.stats()
        yield _requests(stats)
        for part, meaning in (
            ("queue", "Seconds from a successful request's arrival to the start of its execution."),
            ("compute", "Seconds of a successful request's execution, joined requests included."),
            ("total", "Seconds from a successful request's arrival to its completion."),
            ("failed", "Seconds from a failed request's arrival to its completion; 0 for a refused one."),
        ):
            histograms = ((engine, getattr(engine, part)) for engine in stats)
            yield _histogram(f"trtserve_request_{part}_seconds", meaning, histograms)
        yield from _phases(stats)
        yield _histogram(
            "trtserve_batch_items",
            "Items of a successful execution, of all its joined requests.",
            ((engine, engine.batch) for engine in stats),
        )
        yield _gauge("trtserve_queue_depth", "Waiting requests.", stats, "queue_depth")
        yield _gauge("trtserve_instances", "Instances of an engine.", stats, "instances")
        yield _gauge(
            "trtserve_instances_busy",
            "Instances that run a batch or wait for their turn.",
            stats,
            "instances_busy",
        )
        yield _gauge(
            "trtserve_executions_stuck",
            "Executions that have not ended within stuck_after_s.",
            stats,
            "executions_stuck",
        )
        yield _counter(
            "trtserve_execution_failures",
            "Executions that failed, except those where a request's own input was to blame.",
            stats,
            "failed_executions",
        )
        yield _counter(
            "trtserve_batches_undivided",
            "Batches whose outputs did not have one item per input item, so that requests ran one by one.",
            stats,
            "undivided_batches",
        )
        yield from self._left_behind()
        yield from _backend(stats)
        yield from self._seen

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

    def _devices(self) -> Metric:
        dead = self._runtime.dead_devices()
        devices = GaugeMetricFamily(
            "trtserve_device_dead", "1 for a device that only a restart can revive.", labels=["device"]
        )
        for device in sorted({engine.device for engine in self._runtime.engines()} | dead.keys()):
            devices.add_metric([device], int(device in dead))
        return devices

    def _engines(self) -> Iterator[Metric]:
        engines = self._registry.engines()
        states = GaugeMetricFamily("trtserve_engines", "Engines by state.", labels=["state"])
        for state in State:
            states.add_metric([state.value], sum(engine.state is state for engine in engines))
        yield states
        for name, meaning, value in (
            (
                "trtserve_engines_retried",
                "Stored engines whose load is retried, because memory, threads or descriptors are short.",
                len(self._registry.load_problems()),
            ),
            (
                "trtserve_loads_waiting",
                "Uploads and loads that wait for their turn.",
                self._registry.loads_waiting,
            ),
            (
                "trtserve_builds_waiting",
                "Builds of plans that wait for their device.",
                self._registry.builds.waiting,
            ),
            (
                "trtserve_loads_given_up",
                "Loads that were given up because they took too long, and have not ended.",
                self._registry.loads_given_up,
            ),
        ):
            yield GaugeMetricFamily(name, meaning, value)
        builds = CounterMetricFamily(
            "trtserve_builds", "Builds of plans that have ended, by outcome.", labels=["outcome"]
        )
        for outcome, count in self._registry.builds.outcomes.items():
            builds.add_metric([outcome], count)
        yield builds
        seconds = GaugeMetricFamily(
            "trtserve_engine_load_seconds", "Seconds that the engine's load took.", labels=ENGINE_LABELS
        )
        for engine in engines:
            if engine.load_seconds is not None:
                name = engine.info.name if engine.info else ""
                seconds.add_metric([name, str(engine.id)], engine.load_seconds)
        yield seconds


def _labels(engine: EngineStats) -> list[str]:
    return [engine.name, str(engine.id)]


def _requests(stats: Iterable[EngineStats]) -> Metric:
    requests = CounterMetricFamily(
        "trtserve_requests", "Requests by engine and outcome.", labels=[*ENGINE_LABELS, "outcome"]
    )
    for engine in stats:
        for outcome, count in engine.outcomes.items():
            requests.add_metric([*_labels(engine), outcome], count)
    return requests


def _phases(stats: Sequence[EngineStats]) -> Iterator[Metric]:
    """The parts of compute_seconds."""
    for phase, what in (("input", "joining the inputs"), ("infer", "the engine"), ("output", "the outputs")):
        meaning = f"Seconds that {what} took in successful requests' executions, per request."
        metric = CounterMetricFamily(
            f"trtserve_request_compute_{phase}_seconds", meaning, labels=ENGINE_LABELS
        )
        for engine in stats:
            metric.add_metric(_labels(engine), getattr(engine, f"compute_{phase}").ns / NANOSECONDS)
        yield metric


def _backend(stats: Sequence[EngineStats]) -> Iterator[Metric]:
    """Numbers that only the engines' backends know, under the names that each backend gives."""
    for name in sorted({name for engine in stats for name in engine.counters}):
        family = GaugeMetricFamily if name.endswith("_bytes") else CounterMetricFamily
        meaning = f"{name.replace('_', ' ').capitalize()}, as the engine's backend counts them."
        metric = family(f"trtserve_backend_{name}", meaning, labels=ENGINE_LABELS)
        for engine in stats:
            if name in engine.counters:
                metric.add_metric(_labels(engine), engine.counters[name])
        yield metric


def _gauge(name: str, meaning: str, stats: Iterable[EngineStats], attribute: str) -> Metric:
    gauge = GaugeMetricFamily(name, meaning, labels=ENGINE_LABELS)
    for engine in stats:
        gauge.add_metric(_labels(engine), getattr(engine, attribute))
    return gauge


def _counter(name: str, meaning: str, stats: Iterable[EngineStats], attribute: str) -> Metric:
    counter = CounterMetricFamily(name, meaning, labels=ENGINE_LABELS)
    for engine in stats:
        counter.add_metric(_labels(engine), getattr(engine, attribute))
    return counter


def _histogram(name: str, meaning: str, histograms: Iterable[tuple[EngineStats, Histogram]]) -> Metric:
    family = HistogramMetricFamily(name, meaning, labels=ENGINE_LABELS)
    for engine, histogram in histograms:
        buckets: list[tuple[str, float]] = []
        below = 0
        for bound, count in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
            below += count  # Prometheus' buckets are cumulative
            buckets.append((bound, below))
        family.add_metric(_labels(engine), buckets, histogram.sum)
    return family
