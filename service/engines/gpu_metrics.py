"""Prometheus metrics of NVIDIA GPUs, as NVML reports them: memory, use, temperature and power.

NVML numbers the GPUs of the machine, whatever CUDA_VISIBLE_DEVICES says, so `gpu` is not the number in
`cuda:N`; the label `uuid` tells them apart. Source: NVML's API reference.
"""

import logging
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

logger = logging.getLogger(__name__)

LABELS = ("gpu", "uuid")
MILLI = 1e-3
PERCENT = 1e-2


class _Gauge(NamedTuple):
    name: str
    meaning: str
    read: Callable[[ModuleType, Any], float]  # with NVML and a GPU's handle


GAUGES = (
    _Gauge(
        "trtserve_gpu_memory_total_bytes",
        "Memory of the GPU.",
        lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).total,
    ),
    _Gauge(
        "trtserve_gpu_memory_used_bytes",
        "Memory of the GPU that is in use, by whatever process.",
        lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
    ),
    _Gauge(
        "trtserve_gpu_utilization_ratio",
        "Share of the last sample period in which a kernel ran on the GPU.",
        lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu * PERCENT,
    ),
    _Gauge(
        "trtserve_gpu_temperature_celsius",
        "Temperature of the GPU.",
        lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
    ),
    _Gauge(
        "trtserve_gpu_power_watts",
        "Power that the GPU draws.",
        lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) * MILLI,
    ),
    _Gauge(
        "trtserve_gpu_power_limit_watts",
        "Power that the GPU may draw.",
        lambda nvml, gpu: nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) * MILLI,
    ),
)


class GpuCollector(Collector):
    """Collects, on the thread of the scrape, what NVML says; nothing where there is no NVML.

    Opens NVML at the first scrape: that creates no CUDA context. A number that a GPU does not report is left
    out.
    """

    def __init__(self, nvml: ModuleType | None = None) -> None:
        """`nvml` is pynvml, from nvidia-ml-py, unless a test gives another."""
        self._nvml = nvml
        self._gpus: list[tuple[tuple[str, str], Any]] | None = None  # labels and handles; None: not opened

    def describe(self) -> list[Metric]:
        """Nothing: so registering the collector does not open NVML."""
        return []

    def collect(self) -> Iterator[Metric]:
        if self._gpus is None:
            self._gpus = self._open()
        for gauge in GAUGES:
            family = GaugeMetricFamily(gauge.name, gauge.meaning, labels=LABELS)
            self._read(family, gauge.read)
            yield family
        energy = CounterMetricFamily(
            "trtserve_gpu_energy_joules",
            "Energy that the GPU has used since its driver was loaded.",
            labels=LABELS,
        )
        self._read(energy, lambda nvml, gpu: nvml.nvmlDeviceGetTotalEnergyConsumption(gpu) * MILLI)
        yield energy

    def _open(self) -> list[tuple[tuple[str, str], Any]]:
        if self._nvml is None:
            try:
                import pynvml
            except ImportError:
                return []
            self._nvml = pynvml
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            gpus = [nvml.nvmlDeviceGetHandleByIndex(number) for number in range(nvml.nvmlDeviceGetCount())]
            return [((str(number), nvml.nvmlDeviceGetUUID(gpu)), gpu) for number, gpu in enumerate(gpus)]
        except nvml.NVMLError as error:
            logger.debug("the metrics have no GPUs: %s", error)
            return []

    def _read(
        self, family: GaugeMetricFamily | CounterMetricFamily, read: Callable[[ModuleType, Any], float]
    ) -> None:
        nvml = self._nvml
        if nvml is None:
            return
        for labels, gpu in self._gpus or ():
            try:
                family.add_metric(labels, read(nvml, gpu))
            except nvml.NVMLError:  # this GPU does not report it, or is lost
                continue
