"""Tests of the streams that executions run on, of waiting, and of overlap."""

import numpy as np
import torch

from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt
from tests.seam.conftest import RunInThread

ONES = np.ones((1, 4), np.float32)


def test_a_call_on_the_default_stream_is_in_its_order(trt: TensorRt) -> None:
    """The input is still being copied when the engine is called, and the output is read in stream order."""
    engine = trt.load_plan(DOUBLE)
    module = trt.module(engine)
    source = torch.full((2, 4), 3.0).pin_memory()
    x = torch.zeros(2, 4, device="fake")
    trt.device.fake_device_hold()
    x.copy_(source, non_blocking=True)
    y = module(x)
    z = torch.empty(2, 4).pin_memory()
    z.copy_(y, non_blocking=True)
    del x, y  # their memory is not reused before the work on it is done
    trt.device.fake_device_release()
    torch.accelerator.synchronize()
    assert torch.equal(z, torch.full((2, 4), 6.0))


def test_a_call_on_the_callers_stream_runs_on_it(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE)
    module = trt.module(engine)
    stream = torch.Stream("fake")
    with stream:
        x = torch.ones(2, 4, device="fake")
        y = module(x)
        del x
    stream.synchronize()
    assert torch.equal(y.cpu(), torch.full((2, 4), 2.0))
    del y


def test_an_input_from_another_stream_is_kept_until_the_work_on_it_is_done(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE, cuda_graphs="off")
    module = trt.module(engine)
    x = torch.ones(2, 4, device="fake")
    default = torch.accelerator.current_stream()
    default.synchronize()
    stream = torch.Stream("fake")
    trt.device.fake_stream_hold(stream.native_handle)
    with stream:
        y = module(x)
    del x
    default.synchronize()  # the memory would be reused in this stream's order
    trt.device.fake_device_release()
    stream.synchronize()
    assert torch.equal(y.cpu(), torch.full((2, 4), 2.0))
    del y


def test_an_output_is_kept_until_its_callers_stream_is_done_with_it(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE, cuda_graphs="off", instances=1)
    module = trt.module(engine)
    x = torch.ones(2, 4, device="fake")
    side = torch.Stream("fake")
    y = module(x)
    # From here on, the caller's stream waits, but not the engine's stream, which owns the output's memory.
    trt.device.fake_stream_hold(side.native_handle)
    held = torch.Event("fake")
    held.record(side)
    held.wait(torch.accelerator.current_stream())
    z = torch.empty(2, 4).pin_memory()
    z.copy_(y, non_blocking=True)
    del y
    module(x).device  # noqa: B018  # the lease waits for the one before it, and more work passes the engine's stream
    trt.device.fake_device_release()
    torch.accelerator.synchronize()
    assert torch.equal(z, torch.full((2, 4), 2.0))
    del x


def test_a_call_returns_before_its_work_is_done(trt: TensorRt) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}")
    y = trt.module(engine)(torch.ones(1, 4, device="fake"))
    trt.wait_for(gate, 1)
    trt.open(gate)
    assert y.cpu().tolist() == [[2, 2, 2, 2]]
    del y


def test_a_context_is_not_leased_again_before_its_work_is_done(
    trt: TensorRt, run_in_thread: RunInThread
) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}", instances=1)
    module = trt.module(engine)
    x = torch.ones(1, 4, device="fake")
    torch.accelerator.synchronize()
    first = module(x)
    trt.wait_for(gate, 1)
    enqueued = trt.calls("enqueueV3")

    def call_on_another_stream(x: torch.Tensor) -> torch.Tensor:
        with torch.Stream("fake"):
            return module(x).cpu()

    second = run_in_thread(call_on_another_stream, x)
    trt.device.fake_device_await_waiting(1)
    assert trt.calls("enqueueV3") == enqueued
    trt.open(gate)
    assert torch.equal(second.result(), first.cpu())
    del first, x


def test_a_context_whose_work_is_done_is_leased_before_a_busy_one(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE, instances=2, cuda_graphs="off")
    module = trt.module(engine)
    x = torch.ones(1, 4, device="fake")
    torch.accelerator.synchronize()
    busy, other = torch.Stream("fake"), torch.Stream("fake")
    trt.device.fake_stream_hold(busy.native_handle)
    with busy:
        first = module(x)
    with other:
        assert module(x).cpu().tolist() == [[2, 2, 2, 2]]  # while the first is held
    trt.device.fake_device_release()
    busy.synchronize()
    assert first.cpu().tolist() == [[2, 2, 2, 2]]
    del first, x


def test_one_instance_copies_while_another_computes(trt: TensorRt) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}", instances=2)
    tickets = [trt.submit(engine, x=ONES), trt.submit(engine, x=2 * ONES)]
    trt.wait_for(gate, 2)  # the second has finished its copies while the first computes
    trt.open(gate)
    for completion, factor in zip(trt.wait(*tickets), (1, 2), strict=True):
        assert np.frombuffer(completion.outputs[0], np.float32).tolist() == [2 * factor] * 4


def test_engines_on_one_device_do_not_wait_for_each_other(trt: TensorRt) -> None:
    gate = trt.new_gate()
    busy, other = trt.load_plan(f"{DOUBLE}\ngate {gate}"), trt.load_plan(DOUBLE)
    waiting = trt.submit(busy, x=ONES)
    trt.wait_for(gate, 1)
    assert trt.infer(other, x=ONES)["y"].tolist() == [[2, 2, 2, 2]]
    trt.open(gate)
    trt.wait(waiting)


def test_an_unload_waits_for_work_on_the_device(trt: TensorRt, run_in_thread: RunInThread) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}")
    y = trt.module(engine)(torch.ones(1, 4, device="fake"))
    trt.wait_for(gate, 1)
    unloading = run_in_thread(trt.runtime.unload, engine)
    assert not unloading.done()
    trt.open(gate)
    unloading.result()
    assert y.cpu().tolist() == [[2, 2, 2, 2]]
    del y
