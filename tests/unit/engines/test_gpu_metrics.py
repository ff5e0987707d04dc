"""The metrics of GPUs, with a double of NVML."""

from prometheus_client.metrics_core import Metric

from tests.fakes.nvml import nvml
from trtserve.engines.gpu_metrics import GpuCollector


def samples(families: list[Metric]) -> dict[str, dict[str, float]]:
    """Values by sample and GPU."""
    found: dict[str, dict[str, float]] = {}
    for family in families:
        for sample in family.samples:
            assert sample.labels["uuid"] == f"GPU-{sample.labels['gpu']}"
            found.setdefault(sample.name, {})[sample.labels["gpu"]] = sample.value
    return found


def test_each_gpu_has_its_numbers_in_base_units() -> None:
    assert samples(list(GpuCollector(nvml()).collect())) == {
        "trtserve_gpu_memory_total_bytes": {"0": 80_000, "1": 80_000},
        "trtserve_gpu_memory_used_bytes": {"0": 1_000, "1": 2_000},
        "trtserve_gpu_utilization_ratio": {"0": 0.25, "1": 0.25},
        "trtserve_gpu_temperature_celsius": {"0": 40, "1": 41},
        "trtserve_gpu_power_watts": {"0": 350.5, "1": 350.5},
        "trtserve_gpu_power_limit_watts": {"0": 700, "1": 700},
        "trtserve_gpu_energy_joules_total": {"0": 5, "1": 5},
    }


def test_a_number_that_a_gpu_does_not_report_is_left_out() -> None:
    found = samples(list(GpuCollector(nvml(without="nvmlDeviceGetPowerUsage")).collect()))
    assert "trtserve_gpu_power_watts" not in found
    assert found["trtserve_gpu_power_limit_watts"] == {"0": 700, "1": 700}


def test_without_a_driver_there_are_no_gpus() -> None:
    assert samples(list(GpuCollector(nvml(driver=False)).collect())) == {}
