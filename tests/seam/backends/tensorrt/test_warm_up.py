"""What an engine does only once happens before its first request."""

import numpy as np
import pytest

import runtime_ext
from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt

LONG_S = 600.0


def shapes(*rows: int) -> list[list[tuple[list[int], list[int]]]]:
    """Executions of DOUBLE with these batch sizes."""
    return [[([size, 4], [])] for size in rows]


def test_an_engine_that_is_warm_captures_nothing_more(trt11: TensorRt) -> None:
    engine = trt11.load_plan(DOUBLE, instances=2, cuda_graphs="auto")
    assert trt11.runtime.warm_up(engine, shapes(1, 4), LONG_S) == 4
    assert trt11.counters(engine)["cuda_graph_captures"] == 4
    for size in (1, 4):
        x = np.full((size, 4), 3, np.float32)
        assert trt11.infer(engine, x=x)["y"].tolist() == (2 * x).tolist()
    counters = trt11.counters(engine)
    assert (counters["cuda_graph_captures"], counters["cuda_graph_replays"]) == (4, 2)


def test_an_engine_without_graphs_gets_none_from_a_warm_up(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE, instances=1, cuda_graphs="off")
    assert trt.runtime.warm_up(engine, shapes(1, 8), LONG_S) == 2
    assert trt.counters(engine)["cuda_graph_captures"] == 0


def test_a_warm_up_runs_in_every_context_of_every_replica(trt: TensorRt) -> None:
    trt.device.fake_device_count_set(2)
    engine = trt.load_plan(DOUBLE, instances=3, device="all", cuda_graphs="off")
    before = trt.calls("enqueueV3")
    assert trt.runtime.warm_up(engine, shapes(2), LONG_S) == 6
    assert trt.calls("enqueueV3") == before + 6
    trt.runtime.unload(engine)
    trt.await_end_of_engines()
    trt.device.fake_device_count_set(1)


def test_no_execution_begins_after_the_time(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE)
    assert trt.runtime.warm_up(engine, shapes(1, 2, 3), 0.0) == 0


def test_inputs_that_decide_shapes_have_their_values(trt: TensorRt) -> None:
    shaped = "shape_input size INDEX 2\nprofile\nvalues size 1 1 / 2 2 / 4 8\noutput y fill size FP32 7"
    engine = trt.load_plan(shaped, instances=1)
    assert trt.runtime.warm_up(engine, [[([2], [4, 8])]], LONG_S) == 1
    with pytest.raises(runtime_ext.Error, match="size"):
        trt.runtime.warm_up(engine, [[([2], [5, 8])]], LONG_S)


@pytest.mark.parametrize(
    ("executions", "message"),
    [
        ([[([9, 4], [])]], "'x'"),
        ([[([4], [])]], "'x'"),
        ([[]], "takes 1 inputs; an execution to warm it up has 0"),
    ],
)
def test_inputs_that_the_engine_does_not_take_are_refused(
    trt: TensorRt, executions: list[list[tuple[list[int], list[int]]]], message: str
) -> None:
    engine = trt.load_plan(DOUBLE)
    with pytest.raises(runtime_ext.Error) as refused:
        trt.runtime.warm_up(engine, executions, LONG_S)
    assert refused.value.kind == "InvalidInput"
    assert message in str(refused.value)


def test_an_engine_that_fails_in_its_warm_up_still_takes_requests(trt: TensorRt) -> None:
    engine = trt.load_plan(f"{DOUBLE}\nfail enqueue it has no kernel", instances=1)
    with pytest.raises(runtime_ext.Error, match="it has no kernel"):
        trt.runtime.warm_up(engine, shapes(1), LONG_S)
    assert trt.failure(engine, x=np.ones((1, 4), np.float32)).kind == "ExecutionFailed"


def test_a_device_that_dies_in_a_warm_up_is_out_of_service(trt: TensorRt, doomed_device: int) -> None:
    engine = trt.load_plan(DOUBLE, device=f"cuda:{doomed_device}")
    trt.device.fake_device_break_one(doomed_device, b"an illegal address")
    with pytest.raises(runtime_ext.Error, match="an illegal address") as failure:
        trt.runtime.warm_up(engine, shapes(1), LONG_S)
    assert failure.value.kind == "Unavailable"
    assert f"fake:{doomed_device}" in trt.runtime.dead_devices()
