"""Metrics of what is resident, and of requests that waited for it; those of each engine are in metrics.py."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from trtserve.engines.registry import Registry


@dataclass(slots=True)
class ResidencySeen:
    """What belongs to the event loop, as it was at one moment."""

    resident: Mapping[str, int] = field(default_factory=dict)  # bytes, by device
    budgets: Mapping[str, int] = field(default_factory=dict)  # likewise
    counts: list[tuple[str, str, int]] = field(default_factory=list)  # name, meaning, value
    waiting: int = 0

    @classmethod
    def of(cls, registry: Registry) -> Self:
        demand = registry.demand
        counts = [
            ("hits", "Accepted requests that found their engine resident.", demand.hits),
            ("waits", "Requests that began to wait until their engine is loaded.", demand.waits),
            ("loads", "Engines that were loaded because requests waited for them.", demand.loads),
            ("evictions", "Engines that were unloaded because others needed their memory.", demand.evictions),
        ]
        residency = registry.residency
        return cls(residency.resident(), dict(residency.budgets), counts, demand.waiting)


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
