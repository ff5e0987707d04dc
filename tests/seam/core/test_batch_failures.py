"""Batches that fail, and engines that cannot be batched."""

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness, to_numpy
from tests.seam.gated import PLAN, GatedEngine, Ran


def test_a_request_that_makes_its_batch_fail_fails_alone(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, f"{PLAN}\nfail_on 13", max_batch_size=8)
    engine.occupy()
    before, bad, after = engine.submit(2), engine.submit(value=13), engine.submit(3)
    engine.open()
    assert engine.ran(before, after) == [Ran(1, 2), Ran(1, 3)]
    (failed,) = harness.wait(bad)
    assert (failed.kind, failed.batch_requests) == ("ExecutionFailed", 1)
    assert "it met 13" in failed.message
    assert engine.stats.outcomes["Success"] == 3
    assert engine.stats.outcomes["ExecutionFailed"] == 1
    assert engine.stats.instances_busy == 0
    assert engine.executions == 1 + 1 + 3


def test_requests_that_are_too_many_together_for_the_device_run_one_by_one(
    harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(harness, gates, f"{PLAN}\nfail_above 2", max_batch_size=8)
    engine.occupy()
    fitting, too_large = [engine.submit(2), engine.submit(1)], engine.submit(3)
    engine.open()
    assert engine.ran(*fitting) == [Ran(1, 2), Ran(1, 1)]
    (failed,) = harness.wait(too_large)
    assert (failed.kind, failed.message) == ("Unavailable", "there is no memory for 3 items")


def test_an_engine_whose_output_does_not_follow_the_batch_answers_each_request_alone(
    harness: Harness, gates: Gates
) -> None:
    gate = gates.new()
    plan = f"input x FP32 -1 2\noutput y x 2\nsum s x\ngate {gate}"
    engine = harness.load_toy(plan, batch=runtime_ext.BatchOptions(max_batch_size=8))
    sent = {}
    for items in (1, 1, 2, 3):
        x = np.full((items, 2), 1 + len(sent), np.float32)
        sent[harness.submit(engine, x=x)] = x
        gates.wait_for(gate, 1)
    gates.open(gate)
    for completion, x in zip(harness.wait(*sent), sent.values(), strict=True):
        assert completion.kind is None, completion.message
        y, s = (to_numpy(output) for output in completion.outputs)
        assert np.array_equal(y, 2 * x)
        assert np.array_equal(s, x.sum(0, keepdims=True))
        assert completion.batch_requests == 1


X = "input x FP32 -1 4\noutput y x 1"


@pytest.mark.parametrize(
    ("plan", "options", "sentence"),
    [
        ("input x FP32 4 -1\noutput y x 1", {}, "input 'x' is fixed in dimension 0 of its shape [4, ?]"),
        (X, {"batch_dims": {"x": 1}}, "input 'x' is fixed in dimension 1 of its shape [?, 4]"),
        (X, {"batch_dims": {"x": 2}}, "input 'x' has no dimension 2 in its shape [?, 4]"),
        (X, {"batch_dims": {"x": -1}}, "input 'x' has no dimension -1 in its shape [?, 4]"),
        (X, {"batch_dims": {"y": 1}}, "output 'y' is fixed in dimension 1 of its shape [?, 4]"),
        (X, {"batch_dims": {"z": 0}}, "batch_dims names 'z', which is not a tensor of the engine"),
        ("input x FP32 ...\noutput y x 1", {}, "input 'x' is of unknown rank"),
        (f"{X}\ninput n INT64 -1\nvalues n 1 / 8", {}, "input 'n' holds values that decide shapes"),
        (X, {"preferred_batch_sizes": [4, 9]}, "preferred_batch_sizes has 9; allowed are sizes from 1 to"),
        (X, {"preferred_batch_sizes": [0]}, "preferred_batch_sizes has 0; allowed are sizes from 1 to"),
        (X, {"max_batch_size": -1}, "max_batch_size is -1; allowed are numbers from 1 to"),
        (X, {"max_batch_size": 2**62}, f"max_batch_size is {2**62}; allowed are numbers from 1 to"),
        (X, {"max_queue_delay_us": -2}, "max_queue_delay_us is -2; allowed are numbers from 0 to"),
        (X, {"max_queue_delay_us": 2**62}, f"max_queue_delay_us is {2**62}; allowed are numbers from 0"),
        (X, {"latency_target_us": -1}, "latency_target_us is -1; allowed are numbers from 0 to"),
        (X, {"latency_target_us": 2**62}, f"latency_target_us is {2**62}; allowed are numbers from 0 to"),
    ],
)
def test_an_engine_that_cannot_be_batched_as_asked_is_refused_at_the_load(
    harness: Harness, gates: Gates, plan: str, options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(runtime_ext.Error) as refused:
        harness.load_toy(plan, batch=runtime_ext.BatchOptions(**{"max_batch_size": 8, **options}))
    assert refused.value.kind == "InvalidInput"
    assert sentence in str(refused.value)
    assert harness.runtime.engines() == []
    assert gates.contexts == 0


def test_an_engine_that_cannot_be_batched_runs_without_batching(harness: Harness) -> None:
    engine = harness.load_toy("input x FP32 ...\noutput y x 2")
    for shape in ((), (3,), (2, 2)):
        x = np.ones(shape, np.float32)
        assert np.array_equal(harness.infer(engine, x=x)["y"], 2 * x)


UNDIVIDED = "input x FP32 -1 2\noutput y x 2\nsum s x"


def fail_batches(harness: Harness, gates: Gates, engine: int, gate: str, batches: int) -> None:
    """Run batches of two requests whose outputs cannot be divided."""
    arrivals = 0
    for _ in range(batches):
        tickets = [harness.submit(engine, x=np.ones((1, 2), np.float32))]
        arrivals += 1
        gates.wait_for(gate, arrivals)
        tickets += [harness.submit(engine, x=np.ones((1, 2), np.float32)) for _ in range(2)]
        gates.let_through(gate, 1 + 1 + 2)
        arrivals += 1 + 2
        assert [completion.kind for completion in harness.wait(*tickets)] == [None] * 3


def test_requests_are_no_longer_joined_once_the_outputs_of_three_batches_could_not_be_divided(
    harness: Harness, gates: Gates
) -> None:
    runtime_ext.take_log()
    gate = gates.new()
    engine = harness.load_toy(f"{UNDIVIDED}\ngate {gate}", batch=runtime_ext.BatchOptions(max_batch_size=8))
    fail_batches(harness, gates, engine, gate, 2)
    assert harness.runtime.condition(engine).joins_requests
    runtime_ext.take_log()
    fail_batches(harness, gates, engine, gate, 1)
    assert not harness.runtime.condition(engine).joins_requests
    lines = [record.message for record in runtime_ext.take_log() if "one by one" in record.message]
    assert len(lines) == 1
    assert lines[0].startswith(f"requests for engine {engine} run one by one from now on")
    assert harness.stats(engine).undivided_batches == 3
    executions = harness.stats(engine).counters["executions"]
    tickets = [harness.submit(engine, x=np.ones((1, 2), np.float32)) for _ in range(9)]
    gates.open(gate)
    assert [completion.kind for completion in harness.wait(*tickets)] == [None] * 9
    assert harness.stats(engine).counters["executions"] == executions + 9
    assert harness.stats(engine).undivided_batches == 3


def test_batches_that_fail_for_one_of_their_requests_are_still_joined(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, f"{PLAN}\nfail_on 13", max_batch_size=8)
    for _ in range(5):
        engine.occupy()
        bad, good = engine.submit(value=13), engine.submit()
        engine.let_through(4)
        engine.wait_for(3)
        assert harness.wait(bad)[0].kind == "ExecutionFailed"
        assert engine.ran(good) == [Ran(1, 1)]
    assert harness.runtime.condition(engine.id).joins_requests
    assert engine.stats.undivided_batches == 0


def test_an_output_that_is_known_not_to_follow_the_batch_is_refused_at_the_load(harness: Harness) -> None:
    with pytest.raises(runtime_ext.Error) as refused:
        harness.load_toy(f"{UNDIVIDED}\nknows_shapes", batch=runtime_ext.BatchOptions(max_batch_size=8))
    assert refused.value.kind == "InvalidInput"
    assert "output 's' has shape [1, 2] for a batch of 2" in str(refused.value)
    assert "load the engine with max_batch_size 1" in str(refused.value)
    harness.load_toy(f"{UNDIVIDED}\nknows_shapes")
    harness.load_toy(
        "input x FP32 -1 2\noutput y x 2\nknows_shapes", batch=runtime_ext.BatchOptions(max_batch_size=8)
    )
