"""Tests of the phase to which an asynchronous device's time is counted."""

from pathlib import Path

import numpy as np
import pytest
import torch

import runtime_ext
from tests.fakes import tensorrt as sdk
from tests.seam.backends.tensorrt.conftest import DOUBLE, running


@pytest.mark.skipif(
    torch.cuda.is_available(),
    reason="with CUDA, torch pins memory through CUDA, and the fake's copies then block",
)
def test_the_wait_for_the_device_is_part_of_the_outputs(tmp_path: Path, generation: sdk.Generation) -> None:
    clock = runtime_ext.ManualClock()
    with running(tmp_path, generation, clock) as trt:
        engine = trt.load_plan(DOUBLE, cuda_graphs="off")
        trt.device.fake_device_hold()
        ticket = trt.submit(engine, x=np.ones((1, 4), np.float32))
        trt.device.fake_device_await_waiting(1)
        clock.advance(7)
        trt.device.fake_device_release()
        (completion,) = trt.wait(ticket)
        assert completion.kind is None, completion.message
        stats = trt.stats(engine)
        phases = (stats.compute_input, stats.compute_infer, stats.compute_output)
        assert [(phase.count, phase.ns) for phase in phases] == [(1, 0), (1, 0), (1, 7)]
