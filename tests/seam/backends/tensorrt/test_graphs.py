"""Tests of CUDA graphs: captured when shapes recur, verified before use, turned off when they fail."""

import numpy as np
import pytest
import torch

import runtime_ext
from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt

DOUBLE_TO_64 = DOUBLE.replace("8 4", "64 4")


def rows(batch: int, value: float = 1) -> np.ndarray:
    return np.full((batch, 4), value, np.float32)


def run(trt: TensorRt, engine: int, times: int, batch: int = 2) -> None:
    for i in range(times):
        assert (trt.infer(engine, x=rows(batch, i))["y"] == 2 * i).all()


def test_recurring_shapes_are_replayed(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE, instances=1)
    run(trt, engine, 10)
    counters = trt.counters(engine)
    assert counters["cuda_graph_captures"] == 1
    assert counters["cuda_graph_replays"] == 7


def test_off_captures_nothing_and_on_captures_immediately(trt: TensorRt) -> None:
    off = trt.load_plan(DOUBLE, instances=1, cuda_graphs="off")
    on = trt.load_plan(f"{DOUBLE}\nlayers 2", instances=1, cuda_graphs="on")
    run(trt, off, 5)
    run(trt, on, 5)
    assert trt.counters(off)["cuda_graph_captures"] == 0
    assert trt.counters(on)["cuda_graph_replays"] == 4


@pytest.mark.parametrize("fault", ["refuse", "wrong", "idle"])
def test_a_graph_that_cannot_be_trusted_is_turned_off(trt: TensorRt, fault: str) -> None:
    engine = trt.load_plan(f"{DOUBLE}\ngraph {fault}", instances=1, cuda_graphs="on")
    captures = trt.calls("cudaStreamBeginCapture")
    run(trt, engine, 5)
    assert trt.calls("cudaStreamBeginCapture") == captures + 1
    counters = trt.counters(engine)
    assert (counters["cuda_graphs_disabled"], counters["cuda_graph_replays"]) == (1, 0)
    assert any("CUDA graphs are off" in record.message for record in runtime_ext.take_log())


def test_an_engine_whose_outputs_depend_on_values_is_not_captured(trt: TensorRt) -> None:
    engine = trt.load_plan("input x FP32 4\noutput where nonzero x", instances=1, cuda_graphs="on")
    for x in ([0, 1, 0, 1], [0, 0, 0, 1]):
        assert trt.infer(engine, x=np.float32(x))["where"].tolist() == np.flatnonzero(x).tolist()
    assert trt.counters(engine)["cuda_graphs_disabled"] == 1


def test_an_engine_that_streams_its_weights_is_not_captured(trt11: TensorRt) -> None:
    streaming = trt11.load_plan(f"{DOUBLE}\nweights 1024\nstreams_weights", instances=1, cuda_graphs="on")
    resident = trt11.load_plan(f"{DOUBLE}\nweights 1024", instances=1, cuda_graphs="on")
    run(trt11, streaming, 2)
    run(trt11, resident, 2)
    assert trt11.counters(streaming)["cuda_graphs_disabled"] == 1
    assert trt11.counters(resident)["cuda_graph_replays"] == 1


def test_graphs_are_bounded_in_number(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE_TO_64, instances=1, cuda_graphs="on")
    for batch in range(1, 25):
        run(trt, engine, 2, batch)
    assert trt.counters(engine)["cuda_graph_captures"] == 16
    assert trt.live("graph_exec") == 16


@pytest.mark.parametrize("mode", ["auto", "on"])
def test_more_shapes_in_rotation_than_graphs_do_not_make_each_request_a_capture(
    trt11: TensorRt, mode: str
) -> None:
    engine = trt11.load_plan(DOUBLE_TO_64, instances=1, cuda_graphs=mode)
    rounds = 40
    for _ in range(rounds):
        for batch in range(1, 18):
            run(trt11, engine, 1, batch)
    counters = trt11.counters(engine)
    assert counters["cuda_graph_captures"] == 16
    assert counters["cuda_graph_replays"] == 16 * (rounds - (1 if mode == "on" else 3))


@pytest.mark.parametrize("uses", [1, 100])
def test_a_shape_that_has_come_up_takes_the_place_of_one_that_has_not(trt: TensorRt, uses: int) -> None:
    engine = trt.load_plan(DOUBLE_TO_64, instances=1, cuda_graphs="on")
    for batch in range(1, 17):
        run(trt, engine, uses, batch)
    run(trt, engine, 1000, batch=64)
    replays = trt.counters(engine)["cuda_graph_replays"]
    run(trt, engine, 1, batch=64)
    counters = trt.counters(engine)
    assert counters["cuda_graph_captures"] == 17
    assert counters["cuda_graph_replays"] == replays + 1
    assert trt.live("graph_exec") == 16


def test_a_graph_is_captured_again_when_the_scratch_memory_has_moved(trt: TensorRt) -> None:
    engine = trt.load_plan(f"{DOUBLE}\nscratch 4096 per_item", instances=1, cuda_graphs="on")
    run(trt, engine, 2, batch=1)
    run(trt, engine, 2, batch=8)
    run(trt, engine, 3, batch=1)
    assert trt.counters(engine)["cuda_graph_captures"] >= 2


def test_the_outputs_of_a_replay_are_the_callers_own(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE, instances=1, cuda_graphs="on")
    module = trt.module(engine)
    first, second, third = (module(torch.full((1, 4), value, device="fake")) for value in (1.0, 2.0, 3.0))
    assert trt.counters(engine)["cuda_graph_replays"] == 2
    assert [int(y.cpu()[0, 0]) for y in (first, second, third)] == [2, 4, 6]
    del first, second, third


def test_a_graph_whose_replay_fails_is_turned_off_and_its_request_served(trt: TensorRt) -> None:
    engine = trt.load_plan(f"{DOUBLE}\ngraph once", instances=1, cuda_graphs="on")
    run(trt, engine, 4)
    counters = trt.counters(engine)
    assert (counters["cuda_graphs_disabled"], counters["contexts_discarded"]) == (1, 0)
    assert trt.live("graph_exec") == 0
    assert any("a replay failed" in record.message for record in runtime_ext.take_log())


def test_an_engine_that_gives_up_graphs_frees_those_of_all_instances(trt: TensorRt) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}\ngraph once", instances=2, cuda_graphs="on")
    both = [trt.submit(engine, x=rows(1)), trt.submit(engine, x=rows(1))]
    trt.wait_for(gate, 2)
    trt.open(gate)
    trt.wait(*both)
    assert trt.live("graph_exec") == 2
    run(trt, engine, 1, batch=1)
    assert trt.counters(engine)["cuda_graphs_disabled"] == 1
    assert trt.live("graph_exec") == 0


def test_memory_that_tensorrt_asks_for_during_a_capture_is_refused(trt: TensorRt) -> None:
    """A replay would use it after it was freed."""
    engine = trt.load_plan(f"{DOUBLE}\ncapture_allocates", instances=1, cuda_graphs="on")
    run(trt, engine, 3)
    assert trt.counters(engine)["cuda_graphs_disabled"] == 1
    assert any("asked for memory during a capture" in record.message for record in runtime_ext.take_log())


def test_a_graph_that_a_request_left_serves_callers_of_the_module(trt: TensorRt) -> None:
    """Unlike tensors of the service's threads, those of the module's callers are not inference tensors."""
    engine = trt.load_plan(DOUBLE, instances=1, cuda_graphs="on")
    run(trt, engine, 1, batch=1)
    y = trt.module(engine)(torch.full((1, 4), 3.0, device="fake"))
    assert trt.counters(engine)["cuda_graph_replays"] == 1
    assert not y.is_inference()
    assert y.cpu().tolist() == [[6, 6, 6, 6]]
    del y


def test_shapes_that_never_recur_do_not_evict_a_graph(trt11: TensorRt) -> None:
    engine = trt11.load_plan(DOUBLE_TO_64, instances=1)
    run(trt11, engine, 3, batch=64)
    for batch in range(1, 33):
        run(trt11, engine, 1, batch)
    run(trt11, engine, 1, batch=64)
    assert trt11.counters(engine)["cuda_graph_replays"] == 1


def test_no_graph_is_replayed_on_scratch_memory_that_has_become_smaller(trt11: TensorRt) -> None:
    """After a failure to enlarge it, a smaller block may have the larger block's address."""
    engine = trt11.load_plan(f"{DOUBLE}\nscratch 4194304 per_item", instances=1, cuda_graphs="on")
    run(trt11, engine, 2, batch=4)
    trt11.device.fake_device_limit(trt11.device.fake_device_memory() + 4194304)
    assert trt11.failure(engine, x=rows(8)).kind == "Unavailable"
    trt11.device.fake_device_limit(-1)
    run(trt11, engine, 1, batch=2)
    replays = trt11.counters(engine)["cuda_graph_replays"]
    run(trt11, engine, 1, batch=4)
    assert trt11.counters(engine)["cuda_graph_replays"] == replays


def test_a_mode_other_than_off_auto_and_on_is_refused(trt: TensorRt) -> None:
    assert "allowed are off, auto and on" in str(trt.refusal(DOUBLE, cuda_graphs="maybe"))


def test_a_graph_is_captured_from_its_own_context(trt11: TensorRt) -> None:
    """The context never changes again: the fake detects graphs whose context was changed."""
    engine = trt11.load_plan(DOUBLE, instances=1, cuda_graphs="on")
    for batch in (1, 2, 3, 1, 2, 3):
        run(trt11, engine, 1, batch)
    assert trt11.counters(engine)["cuda_graph_replays"] == 3
    assert trt11.live("context") == 1 + 3


def test_graphs_outlive_an_execution_that_fails(trt11: TensorRt) -> None:
    engine = trt11.load_plan(f"{DOUBLE}\nfail_on 7", instances=1, cuda_graphs="on")
    run(trt11, engine, 2, batch=1)
    (failed,) = trt11.wait(trt11.submit(engine, x=rows(2, 7)))
    assert failed.kind == "ExecutionFailed"
    assert trt11.counters(engine)["contexts_discarded"] == 1
    run(trt11, engine, 2, batch=1)
    assert trt11.counters(engine)["cuda_graph_replays"] == 3


def test_without_memory_for_a_graph_requests_are_served_without_graphs(trt: TensorRt) -> None:
    engine = trt.load_plan("input x FP32 262144\noutput y scale x 2", instances=1, cuda_graphs="on")
    x = np.ones(262144, np.float32)
    trt.device.fake_device_limit(trt.device.fake_device_memory() + 2 * x.nbytes + (1 << 19))
    for _ in range(3):
        assert (trt.infer(engine, x=x)["y"] == 2).all()
    assert trt.counters(engine)["cuda_graphs_disabled"] == 1
    assert any("has too little memory for a graph" in record.message for record in runtime_ext.take_log())


def test_a_replay_without_memory_for_its_outputs_is_waited_for(trt: TensorRt) -> None:
    """The replay has begun when its outputs are allocated, so its context is busy, and the other is leased
    next."""
    engine = trt.load_plan("input x FP32 262144\noutput y scale x 2", instances=2, cuda_graphs="on")
    module = trt.module(engine)
    x = torch.ones(262144, device="fake")
    assert module(x).cpu()[0] == 2
    first, second = torch.Stream("fake"), torch.Stream("fake")
    trt.device.fake_stream_hold(first.native_handle)
    trt.device.fake_device_limit(trt.device.fake_device_memory())
    with first, pytest.raises(RuntimeError, match="out of memory"):
        module(x)
    trt.device.fake_device_limit(-1)
    with second:
        y = module(x)
    trt.device.fake_device_release()
    assert y.cpu()[0] == 2
    del x, y
