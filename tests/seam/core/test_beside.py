"""Tests of an engine that is loaded beside another life of it, and takes its place."""

import numpy as np
import pytest
import torch

import runtime_ext
from runtime_ext import BESIDE
from tests.seam.conftest import Gates, Harness, RunInThread, to_numpy
from tests.waiting import wait_until

ONES = np.ones((1, 4), np.float32)
MS = 1_000_000  # nanoseconds


def plan(factor: int, gate: str | None = None) -> str:
    return f"input x FP32 -1 4\noutput y x {factor}" + (f"\ngate {gate}" if gate else "")


def load_beside(harness: Harness, id: int, plan: str, **options: object) -> runtime_ext.EngineInfo:
    path = harness.folder / f"{id}.next.plan"
    path.write_text(f"toy 1\n{plan}\n")
    return harness.runtime.load(id | BESIDE, str(path), "toy", runtime_ext.LoadOptions(**options))


def factors(harness: Harness, *tickets: int) -> list[float]:
    """What the engine that ran each request multiplied it by."""
    found = []
    for completion in harness.wait(*tickets):
        assert completion.kind is None, completion.message
        found.append(float(to_numpy(completion.outputs[0])[0, 0]))
    return found


def call(id: int) -> float:
    return float(torch.ops.trt.execute_engine_list(id, [torch.ones(1, 4)])[0][0, 0])


def test_requests_end_in_the_life_that_accepted_them(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    id = harness.load_toy(plan(2, gate), instances=1)
    info = load_beside(
        harness, id, plan(3), max_queue_size=9, batch=runtime_ext.BatchOptions(max_batch_size=4)
    )
    assert (info.id, info.max_queue_size, info.max_batch_size) == (id, 9, 4)
    executing = harness.submit(id, x=ONES)
    gates.wait_for(gate, 1)
    waiting = harness.submit(id, x=ONES)
    harness.runtime.exchange(id)
    assert harness.runtime.engine(id).max_queue_size == 9
    assert factors(harness, harness.submit(id, x=ONES)) == [3]
    assert harness.runtime.condition(id | BESIDE).requests == 2
    before = harness.stats(id).counters["executions"]
    gates.open(gate)
    assert factors(harness, executing, waiting) == [2, 2]
    harness.runtime.unload(id | BESIDE)
    assert before <= harness.stats(id).counters["executions"] == 3
    assert factors(harness, harness.submit(id, x=ONES)) == [3]
    stats = harness.stats(id)
    assert (stats.success.count, stats.execution_count, stats.queue_depth) == (4, 4, 0)


def test_an_unload_of_the_former_life_ends_what_it_has_accepted(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    gate, contexts = gates.new(), gates.contexts
    id = harness.load_toy(plan(2, gate), instances=1)
    tickets = [harness.submit(id, x=ONES) for _ in range(3)]
    gates.wait_for(gate, 1)
    load_beside(harness, id, plan(3), instances=1)
    harness.runtime.exchange(id)
    unloading = run_in_thread(harness.runtime.unload, id | BESIDE, 60.0)
    assert factors(harness, harness.submit(id, x=ONES)) == [3]
    gates.open(gate)
    unloading.result()
    assert factors(harness, *tickets) == [2, 2, 2]
    assert gates.contexts == contexts + 1


def test_nobody_finds_an_engine_beside_another(harness: Harness) -> None:
    id = harness.load_toy(plan(2), name="net")
    load_beside(harness, id, plan(3), name="net")
    assert [engine.id for engine in harness.runtime.engines()] == [id]
    assert [stats.id for stats in harness.runtime.stats()] == [id]
    assert (call(id), torch.ops.trt.engine("net")) == (2, id)
    with pytest.raises(runtime_ext.Error, match="there is no engine"):
        call(id | BESIDE)
    harness.runtime.unload(id | BESIDE)
    assert factors(harness, harness.submit(id, x=ONES)) == [2]


def test_operators_call_the_engine_that_serves(harness: Harness) -> None:
    id = harness.load_toy(plan(2))
    module = runtime_ext.module(harness.runtime, id)
    load_beside(harness, id, plan(3))
    assert (call(id), float(module(torch.ones(1, 4))[0, 0])) == (2, 2)
    harness.runtime.exchange(id)
    assert (call(id), float(module(torch.ones(1, 4))[0, 0])) == (3, 3)
    harness.runtime.unload(id | BESIDE)
    assert (call(id), sum(harness.stats(id).calls.counts)) == (3, 5)


def test_a_caller_that_found_the_former_life_is_served_by_the_next(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    gate = gates.new()
    id = harness.load_toy(plan(2, gate), instances=1)
    first = run_in_thread(call, id)
    gates.wait_for(gate, 1)
    second = run_in_thread(call, id)  # waits for the context
    load_beside(harness, id, plan(3), instances=1)
    harness.runtime.exchange(id)
    unloading = run_in_thread(harness.runtime.unload, id | BESIDE, 60.0)
    assert second.result() == 3
    gates.open(gate)
    assert first.result() == 2
    unloading.result()


def test_deadlines_and_cancellations_reach_what_waits_in_the_former_life(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    gate = gates.new()
    id = still_harness.load_toy(plan(2, gate), instances=1)
    executing = still_harness.submit(id, x=ONES)
    gates.wait_for(gate, 1)
    late = still_harness.submit(id, 5 * MS, x=ONES)
    cancelled = still_harness.submit(id, x=ONES)
    load_beside(still_harness, id, plan(3))
    still_harness.runtime.exchange(id)
    clock.advance(6 * MS)
    (end,) = still_harness.wait(late)
    assert end.kind == "DeadlineExceeded"
    assert still_harness.runtime.cancel(id, cancelled)
    gates.open(gate)
    assert factors(still_harness, executing) == [2]


def test_counts_that_are_kept_stay_while_an_engine_is_loaded_beside_none(harness: Harness) -> None:
    id = harness.load_toy(plan(2))
    assert factors(harness, harness.submit(id, x=ONES)) == [2]
    harness.runtime.unload(id, keep_counts=True)
    load_beside(harness, id, plan(3))
    assert harness.stats(id).success.count == 1
    harness.runtime.unload(id | BESIDE)
    assert harness.stats(id).success.count == 1


def test_a_prepared_request_is_checked_again_by_the_life_that_gets_it(harness: Harness) -> None:
    id = harness.load_toy(plan(2))
    prepared = harness.runtime.prepare(id, [("x", "FP32", [1, 4])])
    load_beside(harness, id, plan(3))
    harness.runtime.exchange(id)
    assert factors(harness, harness.runtime.submit(prepared, (ONES,))) == [3]


def test_lives_change_places_only_if_there_are_two(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    gate = gates.new()
    id = harness.load_toy(plan(2, gate), instances=1)
    with pytest.raises(runtime_ext.Error) as missing:
        harness.runtime.exchange(id)
    assert missing.value.kind == "NotFound"
    load_beside(harness, id, plan(3))
    with pytest.raises(runtime_ext.Error) as twice:
        load_beside(harness, id, plan(4))
    assert twice.value.kind == "Conflict"
    ticket = harness.submit(id, x=ONES)
    gates.wait_for(gate, 1)
    unloading = run_in_thread(harness.runtime.unload, id, 60.0)

    def refused() -> bool:
        try:
            harness.submit(id, x=ONES)
        except runtime_ext.Error as refusal:
            return "being unloaded" in str(refusal)
        return False

    wait_until(refused, "the unload has begun")
    with pytest.raises(runtime_ext.Error, match="is being unloaded"):
        harness.runtime.exchange(id)
    gates.open(gate)
    unloading.result()
    assert factors(harness, ticket) == [2]


def test_close_ends_both_lives(harness: Harness, gates: Gates) -> None:
    contexts = gates.contexts
    id = harness.load_toy(plan(2))
    load_beside(harness, id, plan(3))
    harness.runtime.exchange(id)
    harness.runtime.close()
    assert gates.contexts == contexts
