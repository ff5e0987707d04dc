"""Tests of what is different with TensorRT 8, where no two contexts may use a profile at the same time."""

import numpy as np
import pytest
import torch

from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt
from tests.seam.conftest import RunInThread

TWO_PROFILES = (
    "input x FP32 -1 4\nprofile\nrange x 1 4 / 1 4 / 8 4\nprofile\nrange x 8 4 / 16 4 / 32 4\n"
    "output y scale x 2"
)


def run(trt: TensorRt, engine: int, *batches: int) -> None:
    for number, batch in enumerate(batches):
        y = trt.infer(engine, x=np.full((batch, 4), number, np.float32))["y"]
        assert y.shape == (batch, 4)
        assert (y == 2 * number).all()


def replays(trt: TensorRt, engine: int) -> int:
    return trt.counters(engine)["cuda_graph_replays"]


def test_an_engine_has_one_instance_by_default(trt8: TensorRt) -> None:
    assert trt8.runtime.engine(trt8.load_plan(DOUBLE)).instances == 1
    assert trt8.live("engine") == 1


def test_each_instance_has_an_engine_of_its_own(trt8: TensorRt, run_in_thread: RunInThread) -> None:
    loaded = trt8.calls("deserializeCudaEngine")
    engine = trt8.load_plan(f"{TWO_PROFILES}\nweights 4096", instances=3)
    assert trt8.calls("deserializeCudaEngine") == loaded + 3
    assert (trt8.live("engine"), trt8.live("context")) == (3, 3 * 2)
    module = trt8.module(engine)

    def client(number: int) -> bool:
        x = torch.full((1 + 4 * number, 4), float(number))
        return all(torch.equal(module(x), 2 * x) for _ in range(20))

    assert all(future.result() for future in [run_in_thread(client, number) for number in range(8)])


def test_a_failed_load_of_a_copy_frees_the_others(trt8: TensorRt) -> None:
    trt8.device.fake_device_limit(trt8.device.fake_device_memory() + (3 << 20))
    assert trt8.refusal(f"{DOUBLE}\nweights 2097152", instances=3).kind == "Unavailable"
    trt8.device.fake_device_limit(-1)
    assert trt8.live("engine") == 0
    trt8.load_plan(f"{DOUBLE}\nweights 2097152", instances=3)


def test_a_discarded_context_is_made_again_with_its_profile(trt8: TensorRt) -> None:
    engine = trt8.load_plan(f"{TWO_PROFILES}\nfail_on 7", cuda_graphs="off")
    for batch in (2, 16):
        failed = trt8.failure(engine, x=np.full((batch, 4), 7, np.float32))
        assert failed.kind == "ExecutionFailed"
        run(trt8, engine, batch)
    assert trt8.counters(engine)["contexts_discarded"] == 2
    assert trt8.live("context") == 2


def test_properties_that_only_later_versions_report_are_left_out(trt8: TensorRt) -> None:
    properties = trt8.runtime.engine(trt8.load_plan(f"{DOUBLE}\nscratch 512 per_item\nlayers 3")).properties
    assert properties["tensorrt"] == "8.5.3"
    assert properties["layers"] == "3"
    assert properties["device_memory_bytes"] == str(8 * 512)
    assert not {"aux_streams", "hardware_compatibility", "weights_bytes"} & set(properties)


def test_every_execution_gets_the_scratch_memory_of_the_largest(trt8: TensorRt) -> None:
    engine = trt8.load_plan(f"{TWO_PROFILES}\nscratch 4096 per_item", cuda_graphs="off")
    run(trt8, engine, 1)
    assert trt8.counters(engine)["scratch_bytes"] == 32 * 4096
    run(trt8, engine, 32, 2)
    assert trt8.counters(engine)["scratch_bytes"] == 32 * 4096


def test_indices_and_shapes_have_32_bits(trt8: TensorRt) -> None:
    engine = trt8.load_plan("input x FP32 4\noutput where nonzero x\noutput shape shape_of x")
    outputs = trt8.infer(engine, x=np.float32([0, 1, 0, 1]))
    assert {name: output.dtype.name for name, output in outputs.items()} == {
        "where": "int32",
        "shape": "int32",
    }
    assert (outputs["where"].tolist(), outputs["shape"].tolist()) == ([1, 3], [4])


def test_a_graph_is_captured_on_the_instances_own_context(trt8: TensorRt) -> None:
    engine = trt8.load_plan(DOUBLE, cuda_graphs="on")
    run(trt8, engine, 2, 2, 2)
    assert replays(trt8, engine) == 2
    assert trt8.live("context") == 1


def test_a_graph_is_replayed_only_while_its_context_has_the_same_shapes(trt8: TensorRt) -> None:
    engine = trt8.load_plan(DOUBLE, cuda_graphs="on")
    run(trt8, engine, 2, 3)
    assert (trt8.counters(engine)["cuda_graph_captures"], replays(trt8, engine)) == (2, 0)
    run(trt8, engine, 2)  # the context has the shapes of the other graph
    assert replays(trt8, engine) == 0
    run(trt8, engine, 2, 2, 3, 3)
    assert (trt8.counters(engine)["cuda_graph_captures"], replays(trt8, engine)) == (2, 3)


def test_profiles_do_not_disturb_each_others_graphs(trt8: TensorRt) -> None:
    engine = trt8.load_plan(TWO_PROFILES, cuda_graphs="on")
    run(trt8, engine, 2, 16, 2, 16, 2, 16)
    assert replays(trt8, engine) == 4


def test_graphs_of_a_discarded_context_are_captured_again(trt8: TensorRt) -> None:
    engine = trt8.load_plan(f"{DOUBLE}\nfail_on 7", cuda_graphs="on")
    run(trt8, engine, 2, 2)
    failed = trt8.failure(engine, x=np.full((3, 4), 7, np.float32))
    assert failed.kind == "ExecutionFailed"
    assert trt8.live("graph_exec") == 0
    run(trt8, engine, 2, 2)
    assert (trt8.counters(engine)["cuda_graph_captures"], replays(trt8, engine)) == (2, 2)


def test_no_graph_is_replayed_on_shapes_that_were_set_but_not_enqueued(trt8: TensorRt) -> None:
    """A change of shapes is work of the next enqueue, which the request without memory did not reach."""
    plan = "input x FP32 -1\nprofile\nrange x 1 / 4 / 1048576\noutput y scale x 2\noutput z scale x 3"
    engine = trt8.load_plan(plan, cuda_graphs="on")
    small, large = np.ones(16, np.float32), np.ones(524288, np.float32)
    for x in (large, small):
        assert (trt8.infer(engine, x=x)["y"] == 2).all()
    assert trt8.counters(engine)["cuda_graph_captures"] == 2
    trt8.device.fake_device_limit(trt8.device.fake_device_memory() + large.nbytes + (1 << 20))
    assert trt8.failure(engine, x=large).kind == "Unavailable"
    trt8.device.fake_device_limit(-1)
    before = replays(trt8, engine)
    assert (trt8.infer(engine, x=large)["z"] == 3).all()
    assert replays(trt8, engine) == before
    assert (trt8.infer(engine, x=large)["z"] == 3).all()
    assert replays(trt8, engine) == before + 1


@pytest.mark.parametrize("batch", [9, 40])
def test_shapes_outside_the_profiles_never_reach_tensorrt(trt8: TensorRt, batch: int) -> None:
    """TensorRT 8 accepts any shape in setInputShape."""
    engine = trt8.load_plan(
        "input x FP32 -1 4\nprofile\nrange x 1 4 / 2 4 / 8 4\nprofile\nrange x 16 4 / 16 4 / 32 4\n"
        "output y scale x 2"
    )
    seen = trt8.calls("setInputShape")
    with pytest.raises(RuntimeError, match=rf"input 'x' has shape \[{batch}, 4\]"):
        trt8.module(engine)(torch.ones(batch, 4))
    assert trt8.calls("setInputShape") == seen
