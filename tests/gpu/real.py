"""A runtime on a real TensorRT library, which builds the plans that it runs."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import runtime_ext
from runtime_ext.backends import TensorRtOptions, built_backends
from tests.gpu.models import Model, Values
from tests.seam.conftest import Harness
from tests.submitting import submit

DEVICE = torch.device("cuda")
GENERATIONS = [name for name in built_backends() if name.startswith("tensorrt")] or ["none"]
"""The built backends; each has its own major version of TensorRT."""

DTYPES = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "INT8": torch.int8,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "BF16": torch.bfloat16,
    "FP32": torch.float32,
}


def major_of(backend: str) -> int:
    return int(backend.removeprefix("tensorrt"))


def for_each(models: tuple[Model, ...]) -> pytest.MarkDecorator:
    """Run a test for every generation with each model that it can build."""
    pairs = [
        pytest.param(backend, model, id=f"{backend}-{model.name}")
        for backend in GENERATIONS
        for model in models
        if backend == "none" or model.since <= major_of(backend) <= model.last
    ]
    return pytest.mark.parametrize(("real", "model"), pairs, indirect=["real"])


def plugin_library(backend: str) -> Path | None:
    """Return NVIDIA's own library of plugins, which lies beside the opened library; None if it does not."""
    major = major_of(backend)
    found = re.search(rf"(/\S+)/libnvinfer\.so\.{major}", Path("/proc/self/maps").read_text())
    library = Path(found[1]) / f"libnvinfer_plugin.so.{major}" if found else None
    return library if library is not None and library.exists() else None


@torch.jit.script
def scripted(engine: int, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    return torch.ops.trt.execute_engine_list(engine, inputs)


class RealTensorRt(Harness):
    """A runtime with one generation of TensorRT; `plans` is where all of a session's tests keep plans."""

    def __init__(self, folder: Path, backend: str, plans: Path, plugins: tuple[Path, ...] = ()) -> None:
        super().__init__(folder, tensorrt=TensorRtOptions(plugins=plugins))
        self.backend = backend
        self.plans = plans

    def plan(self, model: Model) -> Path:
        """Return the model's plan; the first test that needs it builds it."""
        onnx_bytes = model.onnx.SerializeToString(deterministic=True)
        precision = model.precision if major_of(self.backend) < 11 else "auto"
        version = self.runtime.backend_version(self.backend)
        recipe = onnx_bytes + repr((model.profiles, precision, version)).encode()
        plan = self.plans / f"{self.backend}-{model.name}-{hashlib.sha256(recipe).hexdigest()[:8]}.plan"
        if not plan.exists():
            file = self.folder / f"{model.name}.onnx"
            file.write_bytes(onnx_bytes)
            options = runtime_ext.BuildOptions(
                device=str(DEVICE),
                precision=precision,
                profiles=model.profiles,
                timing_cache=str(self.plans / f"{self.backend}.timing"),
            )
            self.runtime.build(self.backend, str(file), str(plan), options, runtime_ext.BuildProgress())
        return plan

    def load_model(self, model: Model, **options: object) -> int:
        return self.load_file(self.plan(model), self.backend, **options)

    def inputs(self, engine: int, case: Values) -> list[torch.Tensor]:
        """Return a case's inputs in the engine's order and datatypes: TensorRT 8 has no 64-bit numbers."""
        return [case[spec.name].to(DTYPES[spec.datatype]) for spec in self.runtime.engine(engine).inputs]

    def named(self, engine: int, outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> Values:
        several = (outputs,) if isinstance(outputs, torch.Tensor) else outputs
        specs = self.runtime.engine(engine).outputs
        return {spec.name: output for spec, output in zip(specs, several, strict=True)}

    def eager(self, engine: int, case: Values) -> Values:
        """Call the engine's wrapper, whose graph calls `trt::execute_engine`, with tensors on the GPU."""
        module = runtime_ext.module(self.runtime, engine)
        return self.named(engine, module(*(x.to(DEVICE) for x in self.inputs(engine, case))))

    def scripted(self, engine: int, case: Values) -> Values:
        """Call the typed operator from scripted code, with tensors on the GPU."""
        given = [x.to(DEVICE) for x in self.inputs(engine, case)]
        return self.named(engine, tuple(scripted(engine, given)))

    def queue(self, engine: int, case: Values) -> int:
        """Submit a case to the scheduler; return its ticket."""
        tensors = []
        for spec, x in zip(self.runtime.engine(engine).inputs, self.inputs(engine, case), strict=True):
            bits = x.view(torch.uint16) if x.dtype == torch.bfloat16 else x  # numpy has no bfloat16
            tensors.append((spec.name, spec.datatype, list(x.shape), bits.contiguous().numpy()))
        return submit(self.runtime, engine, tensors)

    def answers(self, *tickets: int) -> list[Values]:
        """Wait for queued cases; return their answers in the same order."""
        completions = self.wait(*tickets)
        for completion in completions:
            assert completion.kind is None, completion.message
        return [
            {output.name: as_tensor(output, output.datatype, output.shape) for output in completion.outputs}
            for completion in completions
        ]

    def queued(self, engine: int, case: Values) -> Values:
        (answer,) = self.answers(self.queue(engine, case))
        return answer


def as_tensor(data: object, datatype: str, shape: list[int]) -> torch.Tensor:
    """Return a copy of C-contiguous data as a tensor on the CPU."""
    if 0 in shape:
        return torch.empty(shape, dtype=DTYPES[datatype])
    array = np.frombuffer(data, np.uint8).copy()  # type: ignore[call-overload]
    return torch.from_numpy(array).view(DTYPES[datatype]).reshape(shape)
