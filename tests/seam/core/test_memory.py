"""Tests of what is known of an engine's memory and use, and of what an unload gives back and keeps."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime_ext
from tests.seam.conftest import Gates, Harness, RunInThread

DOUBLE = "input x FP32 -1 4\noutput y x 2"
ONES = np.ones((1, 4), np.float32)
SIDE = 1024
WEIGHTS = 4 * SIDE * SIDE  # bytes


def write_matmul(path: str) -> None:
    weights = np.random.default_rng(1).standard_normal((SIDE, SIDE)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", SIDE])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


def test_an_engine_on_the_cpu_takes_what_the_heap_grew_by(harness: Harness) -> None:
    path = harness.folder / "net.onnx"
    write_matmul(str(path))
    harness.load_file(path)  # also opens the library
    memory = harness.runtime.memory(harness.load_file(path))
    assert memory.keys() == {"cpu"}
    assert memory["cpu"].keys() == {"weights", "contexts"}
    assert WEIGHTS <= sum(memory["cpu"].values()) < 4 * WEIGHTS


def test_engines_that_are_loaded_at_the_same_time_do_not_count_each_others_memory(
    harness: Harness, run_in_thread: RunInThread
) -> None:
    path = harness.folder / "net.onnx"
    write_matmul(str(path))
    harness.load_file(path)
    loads = [run_in_thread(lambda: harness.load_file(path)) for _ in range(6)]
    for load in loads:
        memory = harness.runtime.memory(load.result(timeout=60))
        assert WEIGHTS <= sum(memory["cpu"].values()) < 4 * WEIGHTS


def test_engines_that_go_during_a_load_do_not_make_what_it_took_look_smaller(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    path = harness.folder / "net.onnx"
    write_matmul(str(path))
    going = [harness.load_file(path) for _ in range(4)]
    gate = gates.new()
    load = run_in_thread(lambda: harness.load_toy(f"{DOUBLE}\nload_gate {gate}"))
    gates.wait_for(gate, 1)
    taken = np.ones(8 * WEIGHTS, np.uint8)
    for engine in going:
        harness.runtime.unload(engine)
    gates.open(gate)
    memory = harness.runtime.memory(load.result(timeout=60))
    assert 0.75 * taken.nbytes < sum(memory["cpu"].values()) < 1.5 * taken.nbytes


def test_a_load_that_does_not_end_holds_up_the_others_for_a_short_time(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    gate = gates.new()
    stuck = run_in_thread(lambda: harness.load_toy(f"{DOUBLE}\nload_gate {gate}"))
    gates.wait_for(gate, 1)
    for _ in range(2):
        harness.infer(harness.load_toy(DOUBLE), x=ONES)
    gates.open(gate)
    harness.infer(stuck.result(timeout=60), x=ONES)
    harness.infer(harness.load_toy(DOUBLE), x=ONES)


def test_the_memory_of_an_unknown_engine_is_not_found(harness: Harness) -> None:
    with pytest.raises(runtime_ext.Error) as refused:
        harness.runtime.memory(99)
    assert refused.value.kind == "NotFound"


def test_a_device_that_is_not_there_has_no_memory(harness: Harness) -> None:
    assert harness.runtime.device_memory("cuda:99") is None
    assert harness.runtime.device_memory("cpu") is None
    assert harness.runtime.device_memory("nonsense") is None


def test_the_counts_of_an_unloaded_engine_go_on_in_its_next_life(harness: Harness) -> None:
    engine = harness.load_toy(DOUBLE, name="net")
    for _ in range(3):
        harness.infer(engine, x=ONES)
    before = harness.stats(engine)
    harness.runtime.unload(engine, keep_counts=True)
    between = harness.stats(engine)
    assert (between.name, between.instances, between.queue_depth) == ("net", 0, 0)
    assert between.outcomes == before.outcomes
    assert between.counters == before.counters == {"executions": 3}
    assert between.total.counts == before.total.counts

    plan = str(harness.folder / f"{engine}.plan")
    harness.runtime.load(engine, plan, "toy", runtime_ext.LoadOptions(name="net"))
    harness.infer(engine, x=ONES)
    after = harness.stats(engine)
    assert len(harness.runtime.stats()) == 1
    assert after.instances == 1
    assert (after.outcomes["Success"], after.execution_count, after.counters) == (4, 4, {"executions": 4})


def test_counts_are_forgotten_unless_they_are_to_be_kept(harness: Harness) -> None:
    kept, dropped = harness.load_toy(DOUBLE), harness.load_toy(DOUBLE)
    harness.runtime.unload(kept, keep_counts=True)
    harness.runtime.unload(dropped)
    assert [stats.id for stats in harness.runtime.stats()] == [kept]
    harness.runtime.forget(kept)
    harness.runtime.forget(dropped)
    assert harness.runtime.stats() == []


def test_a_request_counts_as_work_until_it_has_ended(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    engine = harness.load_toy(f"{DOUBLE}\ngate {gate}", instances=1)
    assert (harness.runtime.condition(engine).requests, harness.runtime.condition(engine).leases) == (0, 0)
    tickets = [harness.submit(engine, x=ONES) for _ in range(2)]
    gates.wait_for(gate, 1)
    now = harness.runtime.condition(engine)
    assert (now.requests, now.leases) == (2, 1)
    gates.open(gate)
    harness.wait(*tickets)
    harness.runtime.unload(engine)  # waits for the end of the leases


def test_an_engine_is_unused_since_its_last_request_or_its_load(
    still_harness: Harness, clock: runtime_ext.ManualClock
) -> None:
    engine = still_harness.load_toy(DOUBLE)
    clock.advance(3_000_000_000)
    before = still_harness.runtime.condition(engine)
    assert before.unused_seconds == 3
    still_harness.infer(engine, x=ONES)
    clock.advance(2_000_000_000)
    now = still_harness.runtime.condition(engine)
    assert now.unused_seconds == 2
    assert now.last_used_ns - before.last_used_ns == 3_000_000_000
    clock.advance(1_000_000_000)
    assert still_harness.runtime.condition(engine).last_used_ns == now.last_used_ns


def test_an_unload_returns_once_the_last_holder_has_let_the_engine_go(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    contexts = gates.contexts
    gate = gates.new()
    engine = harness.load_toy(f"{DOUBLE}\ngate {gate}", instances=2)
    tickets = [harness.submit(engine, x=ONES) for _ in range(2)]
    gates.wait_for(gate, 2)
    unloading = run_in_thread(harness.runtime.unload, engine, 60.0)
    gates.open(gate)
    unloading.result()
    assert gates.contexts == contexts
    assert [completion.kind for completion in harness.wait(*tickets)] == [None, None]
