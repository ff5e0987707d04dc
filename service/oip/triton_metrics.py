"""Triton's Prometheus metrics, under its names, for dashboards and alerts that were made for it.

The same numbers as in the protocol's statistics, and of the GPUs: with Triton's labels and units, and without
the `_total` that its counters do not have. Source: Triton's user guide, "Metrics".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from runtime_ext import Duration, EngineStats
from trtserve.engines.exposition import EngineFamilies
from trtserve.engines.gpu_metrics import GpuCollector
from trtserve.engines.named_stats import NamedStats
from trtserve.engines.registry import Registry
from trtserve.oip.statistics import all_models

NANOSECONDS = 1_000  # in a microsecond

REJECTED, CANCELED, BACKEND, OTHER = "REJECTED", "CANCELED", "BACKEND", "OTHER"
REASONS = {
    "QueueFull": REJECTED,
    "DeadlineExceeded": REJECTED,
    "Unavailable": REJECTED,
    "Cancelled": CANCELED,
    "ExecutionFailed": BACKEND,
}
"""Triton's reasons of failures, by the outcomes of requests; OTHER for any other outcome."""

OF_GPUS = {
    "trtserve_gpu_utilization_ratio": ("nv_gpu_utilization", "Share of time in which the GPU ran a kernel."),
    "trtserve_gpu_memory_total_bytes": ("nv_gpu_memory_total_bytes", "Bytes of memory of the GPU."),
    "trtserve_gpu_memory_used_bytes": (
        "nv_gpu_memory_used_bytes",
        "Bytes of memory of the GPU that are in use.",
    ),
    "trtserve_gpu_power_watts": ("nv_gpu_power_usage", "Watts that the GPU draws."),
    "trtserve_gpu_power_limit_watts": ("nv_gpu_power_limit", "Watts that the GPU may draw."),
    "trtserve_gpu_energy_joules": ("nv_energy_consumption", "Joules that the GPU has used."),
}


class _Model(NamedTuple):
    """The numbers of an engine under one of its names."""

    name: str
    version: str
    stats: EngineStats

    @property
    def id(self) -> int:
        return self.stats.id


class TritonModels:
    """The numbers of the models that look() has seen."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._seen: list[tuple[str, str, int, str | None]] = []  # model, version, engine ID and its name

    def look(self) -> None:
        """Read, on the event loop, which models there are."""
        self._seen = [
            (model.model_name, model.model_version, model.engine.id, model.name)
            for model in all_models(self._registry)
        ]

    def families(self, of_engines: Sequence[EngineStats]) -> Iterator[Metric]:
        """From the engines' statistics; called on any thread."""
        counted = NamedStats(of_engines)
        models = [
            _Model(model, version, stats)
            for model, version, id, name in self._seen
            if (stats := counted.of(id, name)) is not None
        ]
        families = EngineFamilies(models, _model_and_version)
        yield families.plain_counter(
            "nv_inference_request_success",
            "Requests that succeeded.",
            lambda model: model.stats.success.count,
        )
        yield families.plain_counters(
            "nv_inference_request_failure",
            "Requests that failed, by reason.",
            "reason",
            _failures,
        )
        yield families.plain_counter(
            "nv_inference_count",
            "Items that were inferred, those of batches one by one.",
            lambda model: model.stats.inference_count,
        )
        yield families.plain_counter(
            "nv_inference_exec_count",
            "Executions.",
            lambda model: model.stats.execution_count,
        )
        for name, what, of in (
            ("request", "from arrival to completion", attrgetter("success")),
            ("queue", "in the queue", attrgetter("queue_time")),
            ("compute_input", "for the inputs of their executions", attrgetter("compute_input")),
            ("compute_infer", "in the engine", attrgetter("compute_infer")),
            ("compute_output", "for the outputs of their executions", attrgetter("compute_output")),
        ):
            meaning = f"Microseconds of successful requests {what}."
            yield families.plain_counter(f"nv_inference_{name}_duration_us", meaning, _microseconds(of))
        yield families.gauge(
            "nv_inference_pending_request_count",
            "Requests that wait for an instance.",
            lambda model: model.stats.queue_depth,
        )


class TritonGpus(Collector):
    """Collects, on any thread, the GPUs' numbers under our names and Triton's, and asks NVML once."""

    def __init__(self, gpus: GpuCollector) -> None:
        self._gpus = gpus

    def describe(self) -> list[Metric]:
        """Nothing: registering the collector asks nobody."""
        return []

    def collect(self) -> Iterator[Metric]:
        for ours in self._gpus.collect():
            yield ours
            if ours.name not in OF_GPUS:
                continue
            name, meaning = OF_GPUS[ours.name]
            family = GaugeMetricFamily(name, meaning, labels=["gpu_uuid"])
            for sample in ours.samples:
                family.add_metric([sample.labels["uuid"]], sample.value)
            yield family


def _model_and_version(model: _Model) -> Sequence[tuple[str, str]]:
    return (("model", model.name), ("version", model.version))


def _failures(model: _Model) -> Mapping[str, int]:
    counts = dict.fromkeys((REJECTED, CANCELED, BACKEND, OTHER), 0)
    for outcome, count in model.stats.outcomes.items():
        if outcome != "Success":
            counts[REASONS.get(outcome, OTHER)] += count
    return counts


def _microseconds(duration: Callable[[EngineStats], Duration]) -> Callable[[_Model], int]:
    return lambda model: duration(model.stats).ns // NANOSECONDS
