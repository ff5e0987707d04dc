"""Tests of how waiting requests are joined into one execution, and its outputs divided among them."""

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness, to_numpy
from tests.seam.gated import GatedEngine, Ran
from tests.submitting import submit

MS = 1_000_000  # nanoseconds


def test_waiting_requests_of_any_number_of_items_are_joined_up_to_the_maximum(
    harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=8)
    busy = engine.occupy()
    tickets = [engine.submit(items) for items in (1, 2, 3, 1, 1, 4)]
    engine.open()
    assert engine.ran(*busy, *tickets) == [Ran(1, 1), *[Ran(5, 8)] * 5, Ran(1, 4)]


def test_a_batch_is_one_execution_and_one_observation_of_its_items(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=8)
    busy = engine.occupy()
    tickets = [engine.submit(2) for _ in range(3)]
    engine.open()
    engine.ran(*busy, *tickets)
    assert engine.executions == 2
    assert (sum(engine.stats.batch.counts), engine.stats.batch.sum) == (2, 1 + 6)
    assert engine.stats.outcomes["Success"] == 4


def test_a_request_that_still_fits_does_not_overtake_one_that_does_not(
    harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=8)
    busy = engine.occupy()
    tickets = [engine.submit(items) for items in (5, 4, 1, 2)]
    engine.open()
    assert engine.ran(*tickets) == [Ran(1, 5), Ran(3, 7), Ran(3, 7), Ran(3, 7)]
    assert harness.order == busy + tickets


def test_a_request_of_more_items_than_the_maximum_runs_alone(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=4)
    engine.occupy()
    tickets = [engine.submit(items) for items in (1, 9, 1, 1)]
    engine.open()
    assert engine.ran(*tickets) == [Ran(1, 1), Ran(1, 9), Ran(2, 2), Ran(2, 2)]


def test_requests_without_items_run_alone(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=4)
    engine.occupy()
    tickets = [engine.submit(items) for items in (1, 0, 0, 1, 1)]
    engine.open()
    assert engine.ran(*tickets) == [Ran(1, 1), Ran(1, 0), Ran(1, 0), Ran(2, 2), Ran(2, 2)]


def test_requests_of_items_without_elements_are_joined(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=4)
    engine.occupy()
    tickets = [engine.submit(2, width=0) for _ in range(2)]
    engine.open()
    assert [completion.batch_requests for completion in harness.wait(*tickets)] == [2, 2]


def test_requests_whose_sum_of_items_overflows_are_not_joined(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    engine = harness.load_toy(
        f"input x INT8 -1 -1\noutput y x 2\ngate {gate}", batch=runtime_ext.BatchOptions(max_batch_size=4)
    )
    items = 2**63 - 1
    tickets = [submit(harness.runtime, engine, [("x", "INT8", [items, 0], b"")]) for _ in range(4)]
    gates.open(gate)
    for completion in harness.wait(*tickets):
        assert completion.kind is None, completion.message
        assert completion.shapes == ((items, 0),)
        assert completion.batch_requests == 1


def test_shapes_that_differ_outside_the_batch_are_not_joined_but_served_by_arrival(
    harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=8)
    busy = engine.occupy()
    narrow, wide = engine.submit(width=2), engine.submit(width=3)
    later_narrow, later_wide = engine.submit(2, width=2), engine.submit(3, width=3)
    engine.open()
    assert engine.ran(narrow, later_narrow) == [Ran(2, 3)] * 2
    assert engine.ran(wide, later_wide) == [Ran(2, 4)] * 2
    assert harness.order == [*busy, narrow, later_narrow, wide, later_wide]


def test_many_shapes_that_come_once_are_all_served(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=8)
    engine.occupy()
    tickets = [engine.submit(width=width) for width in range(1, 60)]
    engine.open()
    assert engine.ran(*tickets) == [Ran(1, 1)] * len(tickets)


def test_an_engine_that_does_not_batch_joins_nothing(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates)
    engine.occupy()
    tickets = [engine.submit(2) for _ in range(3)]
    engine.open()
    assert engine.ran(*tickets) == [Ran(1, 2)] * 3


def test_instances_share_a_queue_and_leave_each_other_what_does_not_fit(
    harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(harness, gates, instances=2, max_batch_size=4)
    engine.occupy(2)
    tickets = [engine.submit(2) for _ in range(6)]
    engine.open()
    assert engine.ran(*tickets) == [Ran(2, 4)] * 6


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.uint8, np.int16, np.float16, np.float32, np.int64, np.float64]
)
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_data_is_joined_along_any_dimension_whatever_its_datatype_and_alignment(
    harness: Harness, gates: Gates, dtype: type, dim: int
) -> None:
    gate = gates.new()
    datatype = "BOOL" if dtype is np.bool_ else None
    shape = [2, 3, 4]
    dynamic = " ".join("-1" if d == dim else str(n) for d, n in enumerate(shape))
    name = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}.get(np.dtype(dtype).name)
    name = datatype or name or np.dtype(dtype).name.upper()
    options = runtime_ext.BatchOptions(max_batch_size=16, batch_dims={"x": dim, "y": dim})
    engine = harness.load_toy(f"input x {name} {dynamic}\noutput y x 1\ngate {gate}", batch=options)
    rng = np.random.default_rng(dim)
    sent: dict[int, np.ndarray] = {}
    for number, items in enumerate((1, 1, 3, 2)):
        shape[dim] = items
        x = rng.integers(0, 2, shape).astype(dtype)
        buffer = memoryview(b"-" * (number % 3) + x.tobytes())[number % 3 :]
        sent[submit(harness.runtime, engine, [("x", name, shape, buffer)])] = x
        gates.wait_for(gate, 1)  # the first keeps the instance busy
    gates.open(gate)
    completions = harness.wait(*sent)
    assert [completion.batch_requests for completion in completions] == [1, 3, 3, 3]
    for completion, x in zip(completions, sent.values(), strict=True):
        (y,) = completion.outputs
        assert np.array_equal(to_numpy(y), x)


def test_outputs_above_the_size_that_is_copied_are_right_too(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=8)
    engine.occupy()
    tickets = [engine.submit(items, width=5000) for items in (1, 2, 3)]
    engine.open()
    assert engine.ran(*tickets) == [Ran(3, 6)] * 3


def test_each_input_is_joined_along_its_own_dimension(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    plan = f"input a FP32 -1 2\ninput b INT64 3 -1\noutput c a 2\noutput d b 3\ngate {gate}"
    options = runtime_ext.BatchOptions(max_batch_size=8, batch_dims={"b": 1, "d": 1})
    engine = harness.load_toy(plan, batch=options)
    sent = {}
    for items in (1, 1, 2, 3):
        a = np.full((items, 2), len(sent), np.float32)
        b = np.full((3, items), 10 + len(sent), np.int64)
        sent[harness.submit(engine, b=b, a=a)] = (2 * a, 3 * b)
        gates.wait_for(gate, 1)
    gates.open(gate)
    completions = harness.wait(*sent)
    assert [completion.batch_requests for completion in completions] == [1, 3, 3, 3]
    for completion, expected in zip(completions, sent.values(), strict=True):
        for output, array in zip(completion.outputs, expected, strict=True):
            assert np.array_equal(to_numpy(output), array)


def test_inputs_of_different_numbers_of_items_are_refused(harness: Harness) -> None:
    plan = "input a FP32 -1 2\ninput b FP32 -1\noutput c a 1"
    engine = harness.load_toy(plan, batch=runtime_ext.BatchOptions(max_batch_size=8))
    with pytest.raises(runtime_ext.Error) as refused:
        harness.submit(engine, a=np.ones((2, 2), np.float32), b=np.ones(3, np.float32))
    assert refused.value.kind == "InvalidInput"
    assert str(refused.value) == (
        "input 'b' has 3 items in dimension 0; input 'a' has 2: all must have the same number"
    )


def test_a_prepared_request_is_checked_again_by_a_reloaded_engine(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    first = harness.load_toy("input a FP32 -1\ninput b FP32 -1\noutput c a 2\noutput d b 3")
    prepared = harness.runtime.prepare(first, [("b", "FP32", [2]), ("a", "FP32", [2])])
    harness.runtime.unload(first)
    plan = harness.folder / "again.plan"
    plan.write_text(f"toy 1\ninput b FP32 -1\ninput a FP32 -1\noutput c a 2\noutput d b 3\ngate {gate}\n")
    options = runtime_ext.LoadOptions(batch=runtime_ext.BatchOptions(max_batch_size=8))
    harness.runtime.load(first, str(plan), "toy", options)
    a, b = np.array([1, 2], np.float32), np.array([3, 4], np.float32)
    tickets = [harness.runtime.submit(prepared, (b, a)) for _ in range(3)]
    gates.wait_for(gate, 1)
    gates.open(gate)
    for completion in harness.wait(*tickets):
        c, d = (to_numpy(output) for output in completion.outputs)
        assert np.array_equal(c, 2 * a)
        assert np.array_equal(d, 3 * b)
    harness.runtime.unload(first)
    plan.write_text("toy 1\ninput a FP32 3\ninput b FP32 2\noutput c a 2\n")
    harness.runtime.load(first, str(plan), "toy", runtime_ext.LoadOptions())
    with pytest.raises(runtime_ext.Error, match=r"input 'a' has shape \[2\]; the engine takes \[3\]"):
        harness.runtime.submit(prepared, (b, a))


def test_a_full_queue_estimates_when_to_retry_from_how_fast_it_drains(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, instances=2, queue=3, max_batch_size=1)
    tickets = engine.occupy(2)
    clock.advance(8 * MS)
    tickets += [engine.submit() for _ in range(2)]
    engine.let_through(2)
    engine.wait_for(2)
    tickets += [engine.submit() for _ in range(3)]
    with pytest.raises(runtime_ext.Error, match="queue is full: 3 requests wait") as refused:
        engine.submit()
    assert refused.value.kind == "QueueFull"
    assert refused.value.retry_after == pytest.approx(3 * 0.008 / 2)
    engine.open()
    engine.ran(*tickets)


def test_requests_that_ran_together_drain_a_queue_together(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, queue=4, max_batch_size=4)
    tickets = engine.occupy()
    tickets += [engine.submit() for _ in range(4)]
    engine.let_through()  # in no time, so that nothing is known about the speed
    engine.wait_for(1)
    clock.advance(8 * MS)
    tickets += [engine.submit() for _ in range(4)]
    engine.let_through()
    engine.wait_for(1)
    tickets += [engine.submit() for _ in range(4)]
    with pytest.raises(runtime_ext.Error) as refused:
        engine.submit()
    assert refused.value.retry_after == pytest.approx(4 * 0.002)
    engine.open()
    engine.ran(*tickets)
