"""Engines of a program without a server, on an accelerator: many threads call them, on their own streams."""

import gc
from collections.abc import Callable, Iterator
from ctypes import CDLL
from functools import cache
from pathlib import Path

import pytest
import torch

import runtime_ext
from runtime_ext import _C
from runtime_ext.backends import plugin_path
from tests.fakes import device
from tests.fakes import tensorrt as sdk
from tests.seam.conftest import RunInThread

DOUBLE = "input x FP32 -1 4\nprofile\nrange x 1 4 / 4 4 / 8 4\noutput y scale x 2"
GENERATION = sdk.V11


@cache
def register() -> None:
    _C.register_process_backend(
        "fake_trt", str(plugin_path(GENERATION.backend)), config={"libraries": str(GENERATION.library)}
    )


@pytest.fixture
def fake() -> Iterator[CDLL]:
    """Yield the device's controls; afterwards, check that nothing is left and no contract was breached."""
    controls, library = device.load(), sdk.load(GENERATION)
    controls.fake_breaches_clear()
    register()
    yield controls
    controls.fake_device_release()
    gc.collect()
    runtime_ext.shutdown()
    torch.accelerator.synchronize()
    assert controls.fake_breaches() == b""
    assert library.fake_trt_live(b"engine") == library.fake_trt_live(b"context") == 0


@pytest.fixture
def engine(fake: CDLL, tmp_path: Path) -> int:
    plan = tmp_path / "double.plan"
    plan.write_bytes(sdk.toy_plan(DOUBLE, GENERATION))
    return runtime_ext.load_engine(plan, backend="fake_trt", instances=2)


class Around(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x + 1) - 1


def exported(engine: int) -> torch.nn.Module:
    rows = {"x": {0: torch.export.Dim("rows", min=1, max=8)}}
    example = (torch.ones(2, 4, device="fake"),)
    return torch.export.export(Around(runtime_ext.wrap(engine)), example, dynamic_shapes=rows).module()


CALLED: dict[str, Callable[[int], torch.nn.Module]] = {
    "in eager code": lambda engine: Around(runtime_ext.wrap(engine)),
    "in scripted code": lambda engine: torch.jit.script(Around(runtime_ext.wrap(engine))),
    "with its plan inside": lambda engine: torch.jit.script(Around(runtime_ext.wrap(engine, portable=True))),
    "in exported code": exported,
}


@pytest.mark.parametrize("how", CALLED)
def test_threads_with_streams_of_their_own_get_their_own_results(
    fake: CDLL, engine: int, run_in_thread: RunInThread, how: str
) -> None:
    module = CALLED[how](engine)

    def work(value: int) -> None:
        streams = [torch.Stream("fake") for _ in range(2)]
        results = []
        for i in range(20):
            with streams[i % 2]:
                x = torch.full((1 + i % 3, 4), float(value + i), device="fake")
                results.append(module(x))
                del x
        for i, result in enumerate(results):
            with streams[i % 2]:
                assert result.cpu().tolist() == [[2.0 * (value + i + 1) - 1] * 4] * (1 + i % 3)

    for thread in [run_in_thread(work, 100 * number) for number in range(8)]:
        thread.result()


def test_the_host_does_not_wait_for_the_work_of_a_stream(fake: CDLL, engine: int) -> None:
    module = runtime_ext.wrap(engine)
    stream = torch.Stream("fake")
    with stream:
        x = torch.ones(2, 4, device="fake")
        module(x)  # whatever is done only once
        stream.synchronize()
        fake.fake_stream_hold(stream.native_handle)
        y = module(x)
        assert fake.fake_device_pending() > 0
        fake.fake_device_release()
        stream.synchronize()
        assert y.cpu().tolist() == [[2.0] * 4] * 2
        del x, y
