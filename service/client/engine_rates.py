"""What the engines of a server do, worked out from two looks at its metrics."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

METRICS = (
    "trtserve_requests",
    "trtserve_request_total_seconds",
    "trtserve_batch_items",
    "trtserve_queue_depth",
    "trtserve_instances",
    "trtserve_instances_busy",
    "trtserve_engine_memory_bytes",
)
"""What a Look is read from."""


class Key(NamedTuple):
    """An engine under the name that its series have."""

    name: str
    id: str


@dataclass
class _Engine:
    requests: dict[str, float] = field(default_factory=dict)  # by outcome
    buckets: dict[float, float] = field(default_factory=dict)  # requests by the bound of their seconds
    items: float = 0.0
    executions: float = 0.0
    queued: float = 0.0
    instances: float = 0.0
    busy: float = 0.0
    memory_bytes: float = 0.0


class Look:
    """The metrics at one moment."""

    def __init__(self, page: str, at: float) -> None:
        """`at`: seconds, by any clock that only goes forward."""
        self.at = at
        self.engines: dict[Key, _Engine] = {}
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                labels = sample.labels
                if "id" in labels:
                    engine = self.engines.setdefault(Key(labels["engine"], labels["id"]), _Engine())
                    _add(engine, sample.name, labels, sample.value)


def _add(engine: _Engine, name: str, labels: dict[str, str], value: float) -> None:
    match name:
        case "trtserve_requests_total":
            engine.requests[labels["outcome"]] = value
        case "trtserve_request_total_seconds_bucket":
            engine.buckets[float(labels["le"])] = value
        case "trtserve_batch_items_sum":
            engine.items = value
        case "trtserve_batch_items_count":
            engine.executions = value
        case "trtserve_queue_depth":
            engine.queued = value
        case "trtserve_instances":
            engine.instances = value
        case "trtserve_instances_busy":
            engine.busy = value
        case "trtserve_engine_memory_bytes":
            engine.memory_bytes += value


@dataclass(frozen=True)
class Rates:
    """What an engine did between two looks, and has now. None: nothing to say, as no request ended."""

    name: str
    id: int
    requests_per_second: float  # that succeeded
    failed_per_second: float
    p50_ms: float | None  # from arrival to completion in the server
    p99_ms: float | None
    items_per_execution: float | None
    queued: int
    busy: int
    instances: int
    memory_bytes: int

    def document(self) -> dict[str, Any]:
        return asdict(self)


def rates(before: Look, after: Look) -> list[Rates]:
    """Of all engines, those with the most requests first. A counter that went down began anew."""
    found = [
        _rates(key, before.engines.get(key, _Engine()), engine, after.at - before.at)
        for key, engine in after.engines.items()
    ]
    return sorted(found, key=lambda engine: (-engine.requests_per_second, engine.name, engine.id))


def _rates(key: Key, then: _Engine, now: _Engine, seconds: float) -> Rates:
    grew = {
        outcome: _grown(then.requests.get(outcome, 0.0), count) for outcome, count in now.requests.items()
    }
    succeeded = grew.pop("Success", 0.0)
    counts = [(bound, _grown(then.buckets.get(bound, 0.0), count)) for bound, count in now.buckets.items()]
    executions = _grown(then.executions, now.executions)
    return Rates(
        key.name,
        int(key.id),
        succeeded / seconds,
        sum(grew.values()) / seconds,
        _quantile_ms(sorted(counts), 0.5),
        _quantile_ms(sorted(counts), 0.99),
        _grown(then.items, now.items) / executions if executions else None,
        int(now.queued),
        int(now.busy),
        int(now.instances),
        int(now.memory_bytes),
    )


def _grown(then: float, now: float) -> float:
    return now - then if now >= then else now


def _quantile_ms(buckets: Sequence[tuple[float, float]], share: float) -> float | None:
    """Interpolated within its bucket, as Prometheus's histogram_quantile does.

    `buckets`: bounds in seconds, and how many were within each.
    """
    count = buckets[-1][1] if buckets else 0.0
    if not count:
        return None
    rank, low, below = share * count, 0.0, 0.0
    for bound, within in buckets:
        if within >= rank:
            if math.isinf(bound):
                return low * 1000  # all that is known is that it is above
            return (low + (bound - low) * (rank - below) / (within - below)) * 1000
        low, below = bound, within
    return None
