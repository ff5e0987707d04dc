"""Tests of modules on an accelerator: the engines inside run on the stream of the module's execution."""

from pathlib import Path

import numpy as np
import pytest
import torch

import runtime_ext
from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt
from tests.seam.backends.torchscript.modules import write

ONES = np.ones((1, 4), np.float32)


class Twice(torch.nn.Module):
    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.ops.trt.execute_engine_list(self.first, [x])[0]
        return torch.ops.trt.execute_engine_list(self.second, [y])[0]


def call(engine: int, x: torch.Tensor) -> torch.Tensor:
    return torch.ops.trt.execute_engine_list(engine, [x])[0]


class TwiceInForks(Twice):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.jit.wait(torch.jit.fork(call, self.first, x))
        return torch.jit.wait(torch.jit.fork(call, self.second, y))


def load(trt: TensorRt, kind: type[Twice], device: str = "auto") -> int:
    """Load a module that calls two engines, one after the other."""
    engines = [trt.load_plan(DOUBLE, device=device) for _ in range(2)]
    return trt.load_file(write(trt.folder / "m.pt", kind(*engines)), "torchscript", device=device)


@pytest.mark.parametrize("kind", [Twice, TwiceInForks])
def test_a_module_is_served_on_the_accelerator(trt: TensorRt, kind: type[Twice]) -> None:
    engine = load(trt, kind)
    assert trt.runtime.engine(engine).devices == ["fake:0"]
    for value in range(5):
        assert trt.infer(engine, x=ONES * value)["y"].tolist() == [[4.0 * value] * 4]


@pytest.mark.parametrize("kind", [Twice, TwiceInForks])
def test_the_host_does_not_wait_between_the_steps(trt: TensorRt, kind: type[Twice]) -> None:
    """No work on the caller's stream is done until the whole module has been called."""
    module = trt.module(load(trt, kind))
    stream = torch.Stream("fake")
    with stream:
        x = torch.ones(2, 4, device="fake")
        module(x)  # whatever is done only once
        stream.synchronize()
        trt.device.fake_stream_hold(stream.native_handle)
        y = module(x)
        assert trt.device.fake_device_pending() > 0
        trt.device.fake_device_release()
        stream.synchronize()
        assert y.cpu().tolist() == [[4.0] * 4] * 2
        del x, y


@pytest.mark.parametrize("kind", [Twice, TwiceInForks])
def test_a_warm_up_of_a_module_does_not_count_as_executions_of_its_engines(
    trt: TensorRt, kind: type[Twice]
) -> None:
    engine = load(trt, kind)
    inner = trt.runtime.engine(engine).uses
    before = trt.calls("enqueueV3")
    assert trt.runtime.warm_up(engine, [[([1, 4], [])]], 600.0) == 2
    assert trt.calls("enqueueV3") == before + 4
    assert [trt.stats(each).execution_count for each in inner] == [0, 0]
    trt.infer(engine, x=ONES)
    assert [trt.stats(each).execution_count for each in inner] == [1, 1]


def test_a_module_has_a_replica_on_each_device(trt: TensorRt) -> None:
    trt.device.fake_device_count_set(2)
    try:
        engine = load(trt, Twice, device="all")
        assert trt.runtime.engine(engine).devices == ["fake:0", "fake:1"]
        module = trt.module(engine)
        for device in ("fake:0", "fake:1"):
            y = module(torch.ones(1, 4, device=device))
            assert (str(y.device), y.cpu().tolist()) == (device, [[4.0] * 4])
            del y
        trt.runtime.close()
        trt.await_end_of_engines()
    finally:
        trt.device.fake_device_count_set(1)


def test_a_module_may_run_on_the_cpu_all_the_same(trt: TensorRt) -> None:
    assert trt.runtime.engine(load_plain(trt, "cpu")).devices == ["cpu"]


@pytest.mark.parametrize(
    ("device", "kind", "message"),
    [
        ("cuda:7", "InvalidInput", "device is 'cuda:7'; torch has 1 CUDA devices here"),
        ("tpu", "Unsupported", "the torchscript backend runs on cpu, cuda and cuda:N"),
        ("cuda:x", "Unsupported", "device is 'cuda:x'"),
    ],
)
def test_a_device_that_there_is_not_is_refused(
    trt: TensorRt, tmp_path: Path, device: str, kind: str, message: str
) -> None:
    with pytest.raises(runtime_ext.Error, match=message) as refused:
        load_plain(trt, device)
    assert refused.value.kind == kind


def load_plain(trt: TensorRt, device: str) -> int:
    path = write(trt.folder / "plain.pt", torch.nn.Identity(), inputs={"input": ("FP32", [-1, 4])})
    return trt.load_file(path, "torchscript", device=device)
