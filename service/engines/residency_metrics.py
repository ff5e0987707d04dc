"""Metrics of which engines are resident, and of the memory that they take."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from runtime_ext import Runtime
from trtserve.engines import readiness
from trtserve.engines.engine import State
from trtserve.engines.registry import Registry
from trtserve.engines.room import Memory


@dataclass(slots=True)
class ResidencySeen:
    """What belongs to the event loop, as it was at one moment."""

    engines: list[tuple[str, int, Memory, float | None]] = field(default_factory=list)
    resident: Mapping[str, int] = field(default_factory=dict)  # bytes, by device
    budgets: Mapping[str, int] = field(default_factory=dict)  # likewise
    counts: list[tuple[str, str, int]] = field(default_factory=list)  # name, meaning, value
    waiting: int = 0

    @classmethod
    def of(cls, registry: Registry, runtime: Runtime) -> Self:
        engines: list[tuple[str, int, Memory, float | None]] = []
        for engine in registry.engines():
            name = engine.info.name if engine.info else ""
            memory = readiness.memory(runtime, engine) if engine.state is State.READY else {}
            engines.append((name, engine.id, memory, engine.past.cold_start_seconds))
        demand = registry.demand
        counts = [
            ("hits", "Accepted requests that found their engine resident.", demand.hits),
            ("waits", "Requests that began to wait until their engine is loaded.", demand.waits),
            ("loads", "Engines that were loaded because requests waited for them.", demand.loads),
            ("evictions", "Engines that were unloaded because others needed their memory.", demand.evictions),
        ]
        residency = registry.residency
        return cls(engines, residency.resident(), dict(residency.budgets), counts, demand.waiting)


def residency_metrics(seen: ResidencySeen) -> Iterator[Metric]:
    for name, meaning, value in seen.counts:
        yield CounterMetricFamily(f"trtserve_residency_{name}", meaning, value=value)
    yield GaugeMetricFamily(
        "trtserve_residency_waiting", "Requests that wait until their engine is loaded.", value=seen.waiting
    )
    for name, meaning, sizes in (
        ("resident", "Bytes that loaded engines hold, and those that are being loaded.", seen.resident),
        ("budget", "Bytes that they may hold.", seen.budgets),
    ):
        devices = GaugeMetricFamily(f"trtserve_memory_{name}_bytes", meaning, labels=["device"])
        for device, size in sizes.items():
            devices.add_metric([device], size)
        yield devices
    memory = GaugeMetricFamily(
        "trtserve_engine_memory_bytes",
        "Bytes that a loaded engine takes, by device and kind.",
        labels=["engine", "id", "device", "kind"],
    )
    seconds = GaugeMetricFamily(
        "trtserve_engine_cold_start_seconds",
        "Seconds that the engine's last load for a request took, with the wait for memory.",
        labels=["engine", "id"],
    )
    for name, id, taken, cold_start in seen.engines:
        for device, kinds in taken.items():
            for kind, size in kinds.items():
                memory.add_metric([name, str(id), device, kind], size)
        if cold_start is not None:
            seconds.add_metric([name, str(id)], cold_start)
    yield memory
    yield seconds
