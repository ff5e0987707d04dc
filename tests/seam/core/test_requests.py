"""Tests of a request's way from submit to its one completion."""

import gc
import weakref

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness, RunInThread
from tests.waiting import wait_until

DOUBLE = "input x FP32 -1 4\noutput y x 2"
ONES = np.ones((1, 4), np.float32)


def gated(gate: str) -> str:
    return f"{DOUBLE}\ngate {gate}"


def test_a_request_completes_with_its_outputs(harness: Harness) -> None:
    engine = harness.load_toy(DOUBLE)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert np.array_equal(harness.infer(engine, x=x)["y"], 2 * x)


def test_requests_of_one_instance_run_in_the_order_of_their_arrival(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    engine = harness.load_toy(gated(gate))
    tickets = [harness.submit(engine, x=ONES) for _ in range(5)]
    gates.open(gate)
    harness.wait(*tickets)
    assert harness.order == tickets


def test_instances_run_requests_at_the_same_time(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    engine = harness.load_toy(gated(gate), instances=3)
    tickets = [harness.submit(engine, x=ONES) for _ in range(3)]
    gates.wait_for(gate, 3)
    assert harness.stats(engine).instances_busy == 3
    gates.open(gate)
    harness.wait(*tickets)
    assert harness.stats(engine).instances_busy == 0


def test_a_busy_engine_does_not_hold_up_another(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    busy, other = harness.load_toy(gated(gate)), harness.load_toy(DOUBLE)
    waiting = harness.submit(busy, x=ONES)
    gates.wait_for(gate, 1)
    assert np.array_equal(harness.infer(other, x=ONES)["y"], 2 * ONES)
    gates.open(gate)
    harness.wait(waiting)


def test_a_full_queue_refuses_the_next_request_and_keeps_the_accepted(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    engine = harness.load_toy(gated(gate), max_queue_size=2)
    tickets = [harness.submit(engine, x=ONES)]
    gates.wait_for(gate, 1)
    tickets += [harness.submit(engine, x=ONES) for _ in range(2)]
    with pytest.raises(runtime_ext.Error, match="queue is full: 2 requests wait") as refused:
        harness.submit(engine, x=ONES)
    assert refused.value.kind == "QueueFull"
    gates.open(gate)
    assert [c.kind for c in harness.wait(*tickets)] == [None] * 3
    assert harness.stats(engine).outcomes["QueueFull"] == 1


def test_a_cancelled_request_that_waits_ends_as_cancelled(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    engine = harness.load_toy(gated(gate))
    running = harness.submit(engine, x=ONES)
    gates.wait_for(gate, 1)
    waiting = harness.submit(engine, x=ONES)
    assert harness.runtime.cancel(engine, waiting)
    assert harness.wait(waiting)[0].kind == "Cancelled"
    assert not harness.runtime.cancel(engine, running), "what runs cannot be cancelled"
    gates.open(gate)
    assert harness.wait(running)[0].kind is None


def test_a_request_whose_deadline_has_passed_ends_while_the_instance_is_still_busy(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    gate = gates.new()
    engine = still_harness.load_toy(gated(gate))
    running = still_harness.submit(engine, x=ONES)
    gates.wait_for(gate, 1)
    hasty = still_harness.submit(engine, timeout_ns=1_000, x=ONES)
    patient = still_harness.submit(engine, timeout_ns=1_000_000, x=ONES)
    clock.advance(1_000)
    assert still_harness.wait(hasty)[0].kind == "DeadlineExceeded"
    gates.open(gate)
    assert [c.kind for c in still_harness.wait(running, patient)] == [None, None]


def test_each_engine_ends_its_requests_at_their_own_deadlines(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    gate = gates.new()
    one, other, third = [still_harness.load_toy(gated(gate)) for _ in range(3)]
    running = [still_harness.submit(engine, x=ONES) for engine in (one, other, third)]
    gates.wait_for(gate, 3)
    last = still_harness.submit(one, timeout_ns=5_000, x=ONES)
    first = still_harness.submit(one, timeout_ns=1_000, x=ONES)
    second = still_harness.submit(other, timeout_ns=3_000, x=ONES)
    for ticket, passed in ((first, 1_000), (second, 2_000), (last, 2_000)):
        clock.advance(passed)
        assert still_harness.wait(ticket)[0].kind == "DeadlineExceeded"
        assert still_harness.taken() == []
    gates.open(gate)
    assert [c.kind for c in still_harness.wait(*running)] == [None] * 3


def test_instances_do_not_run_far_ahead_of_whoever_takes_their_answers(
    still_harness: Harness, clock: runtime_ext.ManualClock
) -> None:
    engine = still_harness.load_toy("input x FP32 -1\noutput y x 2")
    x = np.ones(2**20, np.float32)  # 4 MiB: two answers fill what may wait
    tickets = [still_harness.submit(engine, x=x) for _ in range(8)]

    def executions() -> int:
        return still_harness.stats(engine).execution_count

    wait_until(lambda: executions() == 2, "the first two answers")
    clock.advance(1_000_000_000)  # whoever takes them may be waiting for the instance
    wait_until(lambda: executions() == 3, "the third answer")
    assert [c.kind for c in still_harness.wait(*tickets)] == [None] * 8


def test_queue_and_compute_time_are_measured_separately(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    gate = gates.new()
    engine = still_harness.load_toy(gated(gate))
    first = still_harness.submit(engine, x=ONES)
    gates.wait_for(gate, 1)
    second = still_harness.submit(engine, x=ONES)
    clock.advance(3_000_000)
    gates.open(gate)
    done = still_harness.wait(first, second)
    assert [(c.queue_ns, c.compute_ns) for c in done] == [(0, 3_000_000), (3_000_000, 0)]
    assert still_harness.stats(engine).queue.sum == pytest.approx(0.003)


def test_a_failed_execution_says_why_and_affects_no_other(harness: Harness) -> None:
    engine = harness.load_toy(f"{DOUBLE}\nfail_on 13")
    bad, good = harness.submit(engine, x=13 * ONES), harness.submit(engine, x=ONES)
    failed, succeeded = harness.wait(bad, good)
    assert failed.kind == "ExecutionFailed"
    assert "it met 13" in failed.message
    assert succeeded.kind is None
    assert harness.stats(engine).outcomes["ExecutionFailed"] == 1


def test_unload_finishes_accepted_requests(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    engine = harness.load_toy(gated(gate))
    tickets = [harness.submit(engine, x=ONES) for _ in range(3)]
    gates.open(gate)
    harness.runtime.unload(engine)
    assert [c.kind for c in harness.wait(*tickets)] == [None] * 3
    with pytest.raises(runtime_ext.Error, match=f"no engine {engine}"):
        harness.submit(engine, x=ONES)
    assert gates.contexts == 0


def test_unload_without_time_to_drain_ends_waiting_and_running_requests_as_unavailable(
    harness: Harness, gates: Gates
) -> None:
    gate = gates.new()
    engine = harness.load_toy(gated(gate))
    running = harness.submit(engine, x=ONES)
    gates.wait_for(gate, 1)
    waiting = harness.submit(engine, x=ONES)
    harness.runtime.unload(engine, 0)
    assert [ended.kind for ended in harness.wait(running, waiting)] == ["Unavailable", "Unavailable"]
    with pytest.raises(runtime_ext.Error, match="there is no engine"):
        harness.submit(engine, x=ONES)
    gates.open(gate)


def test_close_ends_every_request(harness: Harness, gates: Gates, run_in_thread: RunInThread) -> None:
    gate = gates.new()
    engine = harness.load_toy(gated(gate))
    tickets = [harness.submit(engine, x=ONES) for _ in range(4)]
    gates.wait_for(gate, 1)
    closing = run_in_thread(harness.runtime.close)
    assert {c.kind for c in harness.wait(*tickets)} == {"Unavailable"}
    closing.result()
    gates.open(gate)
    wait_until(lambda: gates.contexts == 0, "the end of the execution that was left behind")


class Buffer(np.ndarray):
    """An array that a weak reference can watch."""


def test_an_input_buffer_is_kept_until_its_completion_is_taken_and_no_longer(
    harness: Harness, gates: Gates
) -> None:
    gate = gates.new()
    engine = harness.load_toy(gated(gate))
    x = np.full((1, 4), 5, np.float32).view(Buffer)
    watched = weakref.ref(x)
    ticket = harness.submit(engine, x=x)
    del x
    gc.collect()
    assert watched() is not None
    gates.open(gate)
    (completion,) = harness.wait(ticket)
    output = completion.outputs[0]
    del completion
    gc.collect()
    assert watched() is None
    assert np.array_equal(np.frombuffer(output, np.float32), [10, 10, 10, 10]), "outputs outlive the rest"


def test_a_refused_request_keeps_no_buffer(harness: Harness) -> None:
    engine = harness.load_toy(DOUBLE)
    x = np.ones((1, 5), np.float32).view(Buffer)
    watched = weakref.ref(x)
    with pytest.raises(runtime_ext.Error):
        harness.submit(engine, x=x)
    del x
    gc.collect()
    assert watched() is None


def test_outputs_are_read_only(harness: Harness) -> None:
    engine = harness.load_toy(DOUBLE)
    (completion,) = harness.wait(harness.submit(engine, x=ONES))
    assert memoryview(completion.outputs[0]).readonly


def test_outcomes_and_histograms_count_every_request(harness: Harness) -> None:
    engine = harness.load_toy(DOUBLE)
    for _ in range(3):
        harness.infer(engine, x=ONES)
    with pytest.raises(runtime_ext.Error):
        harness.submit(engine, z=ONES)
    stats = harness.stats(engine)
    assert {kind: n for kind, n in stats.outcomes.items() if n} == {"Success": 3, "InvalidInput": 1}
    assert sum(stats.total.counts) == sum(stats.queue.counts) == sum(stats.compute.counts) == 3
    assert len(stats.total.counts) == len(stats.total.bounds) + 1
    assert stats.queue_depth == 0
