"""A double of pynvml, NVIDIA's library of management."""

from types import ModuleType, SimpleNamespace


class NvmlError(Exception):
    """As NVMLError in pynvml."""


def nvml(gpus: int = 2, *, driver: bool = True, without: str = "") -> ModuleType:
    """pynvml on a machine with GPUs, none of which supports the function `without`."""

    def init() -> None:
        if not driver:
            raise NvmlError("Driver Not Loaded")

    functions = {
        "nvmlInit": init,
        "nvmlDeviceGetCount": lambda: gpus,
        "nvmlDeviceGetHandleByIndex": lambda number: number,
        "nvmlDeviceGetUUID": lambda gpu: f"GPU-{gpu}",
        "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(total=80_000, used=1_000 * (gpu + 1)),
        "nvmlDeviceGetUtilizationRates": lambda gpu: SimpleNamespace(gpu=25, memory=10),
        "nvmlDeviceGetTemperature": lambda gpu, sensor: 40 + gpu,
        "nvmlDeviceGetPowerUsage": lambda gpu: 350_500,
        "nvmlDeviceGetEnforcedPowerLimit": lambda gpu: 700_000,
        "nvmlDeviceGetTotalEnergyConsumption": lambda gpu: 5_000,
    }

    def unsupported(*_: object) -> None:
        raise NvmlError("Not Supported")

    module = ModuleType("pynvml")
    vars(module).update(functions, NVMLError=NvmlError, NVML_TEMPERATURE_GPU=0)
    if without:
        setattr(module, without, unsupported)
    return module
