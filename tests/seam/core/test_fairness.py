"""Tests of engines that share a device: all toy engines run on the CPU."""

import runtime_ext
from tests.seam.conftest import Gates, Harness
from tests.seam.gated import GatedEngine, Ran

US = 1_000  # nanoseconds


def test_an_engine_that_is_stuck_does_not_keep_another_from_running(harness: Harness, gates: Gates) -> None:
    stuck = GatedEngine(harness, gates, instances=4)
    stuck.occupy(4)
    waiting = [stuck.submit() for _ in range(20)]
    other = GatedEngine(harness, gates)
    other.open()
    for _ in range(10):
        assert other.ran(other.submit()) == [Ran(1, 1)]
    stuck.open()
    stuck.ran(*waiting)


def test_a_turn_that_is_free_goes_to_the_engine_that_has_had_less_time(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    greedy = GatedEngine(still_harness, gates, instances=4)
    modest = GatedEngine(still_harness, gates, instances=4)
    greedy.occupy(4)
    more = [greedy.submit() for _ in range(50)]
    tickets = [modest.submit() for _ in range(4)]
    modest.wait_for(1)
    modest.wait_until_busy(2)
    clock.advance(US)
    # The four turns were taken before the other engine came: so five run, until one has ended.
    greedy.let_through(2)
    modest.wait_for(1)
    modest.wait_until_busy(3)
    clock.advance(US)
    greedy.let_through()
    modest.wait_for(1)
    assert (greedy.executions, modest.executions) == (4, 3), "the greedy one kept one turn of its own"
    greedy.open()
    modest.open()
    greedy.ran(*more)
    modest.ran(*tickets)


def test_an_idle_engine_saves_up_no_credit(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    busy = GatedEngine(still_harness, gates, instances=3)
    idle = GatedEngine(still_harness, gates, instances=3)
    for _ in range(10):
        tickets = busy.occupy(3)
        clock.advance(1_000 * US)
        busy.let_through(3)
        busy.ran(*tickets)
    tickets = idle.occupy(3)
    more = [idle.submit() for _ in range(20)]
    waiting = [busy.submit() for _ in range(3)]
    busy.wait_for(1)
    busy.wait_until_busy(2)
    # More than the busy one's last three turns, but far less than its thirty.
    clock.advance(4_000 * US)
    idle.let_through(2)
    busy.wait_for(1)
    busy.open()
    idle.open()
    busy.ran(*waiting)
    idle.ran(*tickets, *more)


def test_requests_that_wait_for_the_device_can_still_be_joined_cancelled_and_expire(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    busy = GatedEngine(still_harness, gates, instances=2)
    other = GatedEngine(still_harness, gates, instances=2, max_batch_size=4)
    busy.occupy(2)
    other.occupy()
    # The device is full: the other instance of `other` waits for a turn.
    joined = [other.submit(2)]
    cancelled = other.submit()
    hasty = other.submit(timeout_ns=US)
    joined += [other.submit(1), other.submit(priority=0)]
    assert still_harness.runtime.cancel(other.id, cancelled)
    clock.advance(US)
    kinds = [completion.kind for completion in still_harness.wait(cancelled, hasty)]
    assert kinds == ["Cancelled", "DeadlineExceeded"]
    other.open()
    assert other.ran(*joined) == [Ran(3, 4)] * 3
    busy.open()


def test_an_engine_that_is_unloaded_leaves_the_device_to_the_others(harness: Harness, gates: Gates) -> None:
    for _ in range(5):
        leaving = GatedEngine(harness, gates, instances=3)
        staying = GatedEngine(harness, gates, instances=2)
        tickets = leaving.occupy(3)
        staying.occupy(1)
        waiting = [staying.submit() for _ in range(5)]
        leaving.open()
        harness.runtime.unload(leaving.id)
        leaving.ran(*tickets)
        staying.wait_for(1)
        staying.open()
        staying.ran(*waiting)
        harness.runtime.unload(staying.id)
