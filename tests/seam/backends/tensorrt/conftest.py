"""Fixtures for the tensorrt backend on the fake SDK and the fake device, compiled against the fake's
headers.

A test that uses `trt` runs once per generation of TensorRT; one that uses `trt8` or `trt11` is about what
only that generation does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import runtime_ext
from runtime_ext.backends import plugin_path
from tests.fakes import device
from tests.fakes import tensorrt as sdk
from tests.seam.conftest import NUMPY, Harness
from tests.waiting import wait_until

if TYPE_CHECKING:
    from ctypes import CDLL

_DOOMED_DEVICES = count(5)

DOUBLE = "input x FP32 -1 4\nprofile\nrange x 1 4 / 4 4 / 8 4\noutput y scale x 2"

OF_RUNS = ("runtime", "engine", "context", "inspector", "graph", "graph_exec")
OF_BUILDS = ("builder", "network", "parser", "config", "timing_cache", "host_memory")
"""The kinds of TensorRT's objects, as the fake counts them."""


class TensorRt(Harness):
    """A runtime with the backend `trt` of one generation, and the controls of the fakes below it."""

    def __init__(
        self,
        folder: Path,
        generation: sdk.Generation,
        clock: runtime_ext.ManualClock | None = None,
        **config: str,
    ) -> None:
        super().__init__(folder, clock)
        self.generation = generation
        self.device: CDLL = device.load()
        self.sdk: CDLL = sdk.load(generation)
        self._gates = count()
        settings = {"libraries": str(generation.library), **config}
        self.runtime.register_backend("trt", str(plugin_path(generation.backend)), config=settings)

    def sizes(self, *numbers: int) -> np.ndarray:
        """Return the values of a shape tensor of datatype INDEX."""
        return np.array(numbers, NUMPY[self.generation.index])

    def plan(self, text: str) -> bytes:
        return sdk.toy_plan(text, self.generation)

    def load_plan(self, text: str, **options: object) -> int:
        return self.load_bytes(self.plan(text), **options)

    def load_bytes(self, plan: bytes, **options: object) -> int:
        file = self.folder / "some.plan"
        file.write_bytes(plan)
        return self.load_file(file, "trt", **options)

    def refusal(self, text: str, **options: object) -> runtime_ext.Error:
        with pytest.raises(runtime_ext.Error) as refused:
            self.load_plan(text, **options)
        return refused.value

    def failure(self, engine: int, **inputs: object) -> runtime_ext.Completion:
        """Return the completion of a request that fails."""
        (completion,) = self.wait(self.submit(engine, **inputs))
        assert completion.kind is not None
        return completion

    def module(self, engine: int) -> torch.ScriptModule:
        return runtime_ext.module(self.runtime, engine)

    def new_gate(self) -> str:
        return f"trt_gate{id(self)}_{next(self._gates)}"

    def open(self, gate: str) -> None:
        self.sdk.toy_gate_open(gate.encode())

    def wait_for(self, gate: str, arrivals: int) -> None:
        assert self.sdk.toy_gate_await(gate.encode(), arrivals), "the executions did not arrive"

    def calls(self, function: str) -> int:
        return self.sdk.fake_trt_count(function.encode())

    def contexts_created(self) -> int:
        return self.calls("createExecutionContext") + self.calls("createExecutionContextWithoutDeviceMemory")

    def live(self, what: str) -> int:
        return self.sdk.fake_trt_live(what.encode())

    def await_end_of_engines(self) -> None:
        """Wait for the end of all engines after an unload of all or the end of the runtime.

        An instance whose last execution was about to end has been left behind: it lets its engine go later.
        """
        wait_until(lambda: self.live("engine") == 0, "the end of all engines")

    def breaches(self) -> str:
        return self.device.fake_breaches().decode()

    def counters(self, engine: int) -> dict[str, int]:
        return self.stats(engine).counters


@contextmanager
def running(
    folder: Path,
    generation: sdk.Generation,
    clock: runtime_ext.ManualClock | None = None,
    **config: str,
) -> Iterator[TensorRt]:
    """Run a runtime, then check that no TensorRT object or memory is left, and no contract was breached.

    A backend that was registered for the whole process, by an earlier test, keeps its TensorRT runtime.
    """
    trt = TensorRt(folder, generation, clock, **config)
    of_process = trt.live("runtime")
    trt.device.fake_breaches_clear()
    runtime_ext.take_log()
    try:
        yield trt
    finally:
        trt.device.fake_device_break(None)
        trt.device.fake_device_limit(-1)
        trt.device.fake_device_release()
        trt.runtime.close()
        del trt.runtime
    torch.accelerator.synchronize()
    assert trt.breaches() == ""
    # An instance whose last execution was about to end has been left behind.
    objects = (*OF_RUNS, *OF_BUILDS)
    wait_until(lambda: sum(map(trt.live, objects)) == of_process, "the end of all TensorRT objects")
    assert trt.breaches() == ""
    assert trt.sdk.fake_trt_allocated() == 0
    assert trt.device.fake_device_memory() == 0


@pytest.fixture(params=[sdk.V8, sdk.V11], ids=lambda generation: f"v{generation.major}")
def generation(request: pytest.FixtureRequest) -> sdk.Generation:
    chosen: sdk.Generation = request.param
    return chosen


@pytest.fixture
def trt(tmp_path: Path, generation: sdk.Generation) -> Iterator[TensorRt]:
    with running(tmp_path, generation) as trt:
        yield trt


def next_doomed_device(trt: TensorRt) -> int:
    """A device that no other test uses: a dead one stays dead until the process ends."""
    device = next(_DOOMED_DEVICES)
    trt.device.fake_device_count_set(device + 1)
    assert trt.device.fake_device_count() == device + 1, "there are no more devices"
    return device


@pytest.fixture
def doomed_devices(trt: TensorRt) -> Iterator[tuple[int, int]]:
    """Yield two devices that no other test uses."""
    pair = next_doomed_device(trt), next_doomed_device(trt)
    yield pair
    trt.device.fake_device_break(None)
    trt.runtime.close()
    trt.await_end_of_engines()  # each needs its device
    trt.device.fake_device_count_set(1)


@pytest.fixture
def doomed_device(doomed_devices: tuple[int, int]) -> int:
    return doomed_devices[0]


@pytest.fixture
def trt8(tmp_path: Path) -> Iterator[TensorRt]:
    with running(tmp_path, sdk.V8) as trt:
        yield trt


@pytest.fixture
def trt11(tmp_path: Path) -> Iterator[TensorRt]:
    with running(tmp_path, sdk.V11) as trt:
        yield trt
