"""Tests of engines on the CPU that are called with GPU tensors."""

import io

import pytest
import torch

import runtime_ext
from tests.seam.conftest import Harness

pytestmark = pytest.mark.gpu
PLAN = "input x FP32 -1 4\ninput k INT64 2\noutput y x 2\noutput n k 3"


def arguments() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(8.0, device="cuda").reshape(2, 4), torch.tensor([1, 2], device="cuda")


def check(y: torch.Tensor, n: torch.Tensor) -> None:
    x, k = arguments()
    assert (y.device.type, n.device.type) == ("cuda", "cuda")
    assert torch.equal(y, 2 * x)
    assert torch.equal(n, 3 * k)


def test_the_wrapper_accepts_and_returns_gpu_tensors(harness: Harness) -> None:
    engine = harness.load_toy(PLAN)
    check(*runtime_ext.module(harness.runtime, engine)(*arguments()))


def test_the_loaded_module_file_accepts_gpu_tensors(harness: Harness) -> None:
    engine = harness.load_toy(PLAN)
    check(*torch.jit.load(io.BytesIO(harness.runtime.module_bytes(engine)))(*arguments()))


def test_the_typed_operator_accepts_gpu_tensors(harness: Harness) -> None:
    engine = harness.load_toy(PLAN)
    check(*torch.ops.trt.execute_engine_list(engine, list(arguments())))


def test_inputs_may_be_on_different_devices(harness: Harness) -> None:
    engine = harness.load_toy(PLAN)
    x, k = arguments()
    y, n = runtime_ext.module(harness.runtime, engine)(x, k.cpu())
    check(y, n)


def test_work_on_the_callers_stream_is_seen(harness: Harness) -> None:
    """The input is still being computed on the caller's stream when the engine is called."""
    engine = harness.load_toy("input x FP32 1 4\noutput y x 2")
    module = runtime_ext.module(harness.runtime, engine)
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        slow = torch.ones(4096, 4096, device="cuda")
        for _ in range(20):
            slow = (slow @ slow).clamp(0, 1)
        x = slow[:1, :4].contiguous()
        y = module(x)
    stream.synchronize()
    assert torch.equal(y, torch.full((1, 4), 2.0, device="cuda"))


def test_exported_code_traces_on_the_gpu(harness: Harness) -> None:
    engine = harness.load_toy("input x FP32 2 4\noutput y x 2")

    class Around(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.ops.trt.execute_engine_list(engine, [x])[0] + 1

    x = arguments()[0]
    assert torch.equal(torch.export.export(Around(), (x,)).module()(x), 2 * x + 1)
