"""Tests of the streams that executions run on, of waiting, and of overlap."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.fakes import tensorrt as sdk
from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt, running
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


def test_memory_that_tensorrt_frees_is_kept_until_the_work_on_it_is_done(trt: TensorRt) -> None:
    """TensorRT 8 allocates and frees without naming the stream of the work."""
    engine = trt.load_plan(f"{DOUBLE}\ntemporary 4096", cuda_graphs="off")
    module = trt.module(engine)
    stream = torch.Stream("fake")
    with stream:
        x = torch.ones(2, 4, device="fake")
    stream.synchronize()
    trt.device.fake_stream_hold(stream.native_handle)
    with stream:
        y = module(x)
    torch.accelerator.current_stream().synchronize()  # memory of the default stream would be reused now
    trt.device.fake_device_release()
    stream.synchronize()
    assert torch.equal(y.cpu(), torch.full((2, 4), 2.0))
    del x, y


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


def test_a_context_executes_nothing_on_another_stream_before_its_work_is_done(
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


def test_executions_of_one_shape_on_one_stream_do_not_wait_for_each_other(trt: TensorRt) -> None:
    """A device that has to wait for its host between executions is idle meanwhile."""
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}", instances=1, cuda_graphs="off")
    module = trt.module(engine)
    stream = torch.Stream("fake")
    with stream:
        inputs = [torch.full((1, 4), i, device="fake") for i in (1.0, 2.0, 3.0)]
        outputs = [module(x) for x in inputs]
        trt.open(gate)
        assert [int(y.cpu()[0, 0]) for y in outputs] == [2, 4, 6]
    del inputs, outputs


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


def test_a_capture_takes_nothing_of_other_engines_and_threads(
    trt: TensorRt, run_in_thread: RunInThread
) -> None:
    """Nine engines of two instances each have more streams than torch's pool.

    One captures, and is held in the middle of it. Meanwhile the others run, and torch copies and frees memory
    that was used on the caller's stream.
    """
    gate = trt.new_gate()
    capturing = trt.load_plan(f"{DOUBLE}\ncapture_gate {gate}", instances=2, cuda_graphs="on")
    others = [trt.load_plan(f"{DOUBLE}\nlayers {i}", instances=2, cuda_graphs="off") for i in range(2, 10)]
    stream = torch.Stream("fake")
    with stream:
        x = torch.full((2, 4), 3.0, device="fake")
        unrelated = torch.full((2, 4), 5.0, device="fake")

    def call(x: torch.Tensor) -> torch.Tensor:
        with stream:
            return trt.module(capturing)(x).cpu()

    called, submitted = run_in_thread(call, x), trt.submit(capturing, x=ONES)
    trt.wait_for(gate, 2)
    for engine in others:
        tickets = [trt.submit(engine, x=i * ONES) for i in range(4)]
        for i, completion in enumerate(trt.wait(*tickets)):
            assert np.frombuffer(completion.outputs[0], np.float32).tolist() == [2 * i] * 4
    for _ in range(16):  # more than the pool has
        with torch.Stream("fake"):
            assert trt.module(others[0])(torch.ones(1, 4, device="fake")).cpu().tolist() == [[2, 2, 2, 2]]
    with stream:
        pinned = torch.empty(2, 4).pin_memory()
        pinned.copy_(unrelated, non_blocking=True)
        del unrelated
    stream.synchronize()
    assert pinned.tolist() == [[5] * 4] * 2
    del pinned
    trt.open(gate)
    assert torch.equal(called.result(), torch.full((2, 4), 6.0))
    (completion,) = trt.wait(submitted)
    assert np.frombuffer(completion.outputs[0], np.float32).tolist() == [2] * 4
    assert trt.counters(capturing)["cuda_graph_captures"] == 2
    assert trt.infer(capturing, x=7 * ONES)["y"].tolist() == [[14, 14, 14, 14]]
    del x


def test_each_instance_has_a_stream_of_its_own(trt: TensorRt) -> None:
    """One engine's instances are held in their work on the device; those of eight others are not."""
    gate = trt.new_gate()
    held = trt.load_plan(f"{DOUBLE}\ngate {gate}", instances=2, cuda_graphs="off")
    others = [trt.load_plan(f"{DOUBLE}\nlayers {i}", instances=2, cuda_graphs="off") for i in range(2, 10)]
    waiting = [trt.submit(held, x=ONES), trt.submit(held, x=ONES)]
    trt.wait_for(gate, 2)
    for engine in others:
        assert all(
            completion.kind is None
            for completion in trt.wait(*[trt.submit(engine, x=ONES) for _ in range(4)])
        )
    trt.open(gate)
    trt.wait(*waiting)


def test_streams_are_used_again_after_an_unload(trt: TensorRt) -> None:
    def cycle() -> None:
        engine = trt.load_plan(DOUBLE, cuda_graphs="on")
        trt.infer(engine, x=ONES)
        trt.runtime.unload(engine)

    cycle()
    created = trt.calls("cudaStreamCreateWithFlags")
    for _ in range(5):
        cycle()
    assert trt.calls("cudaStreamCreateWithFlags") == created + 5  # one for each capture


@pytest.mark.parametrize("spin", ["", "1"])
def test_threads_that_wait_for_the_device_sleep_unless_told_to_spin(
    tmp_path: Path, generation: sdk.Generation, spin: str
) -> None:
    kinds = ["an event to sleep for", "an event to spin for"]
    with running(tmp_path, generation, spin=spin) as trt:
        before = [trt.calls(kind) for kind in kinds]
        engine = trt.load_plan(DOUBLE, cuda_graphs="off")
        waits = trt.calls("cudaEventSynchronize")
        trt.infer(engine, x=ONES)
        assert trt.calls("cudaEventSynchronize") > waits
        slept, spun = (trt.calls(kind) - count for kind, count in zip(kinds, before, strict=True))
    assert (slept == 0, spun == 0) == (bool(spin), not spin)


def test_the_outputs_of_an_execution_that_fails_are_kept_until_its_work_is_done(
    trt: TensorRt, run_in_thread: RunInThread
) -> None:
    engine = trt.load_plan(f"{DOUBLE}\nfail late it broke off", instances=1)
    module = trt.module(engine)
    stream = torch.Stream("fake")
    with stream:
        x = torch.ones(2, 4, device="fake")
    stream.synchronize()
    before = trt.device.fake_device_memory()
    trt.device.fake_stream_hold(stream.native_handle)

    def call(x: torch.Tensor) -> None:
        with stream, pytest.raises(RuntimeError, match="it broke off"):
            module(x)

    failing = run_in_thread(call, x)
    trt.device.fake_device_await_waiting(1)
    held = trt.device.fake_device_memory()
    assert held > before
    trt.device.fake_device_release()
    failing.result()
    assert trt.device.fake_device_memory() < held
    del x


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
