"""Tests of requests that leave the queue before they are joined: expired, cancelled or unloaded."""

import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness
from tests.seam.gated import GatedEngine, Ran

US = 1_000  # nanoseconds


def kinds(harness: Harness, *tickets: int) -> list[str | None]:
    return [completion.kind for completion in harness.wait(*tickets)]


def test_a_request_that_expires_while_it_waits_leaves_its_place_to_others(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=4)
    busy = engine.occupy()
    hasty = engine.submit(3, timeout_ns=US)
    patient = [engine.submit(2), engine.submit(2, timeout_ns=US + 1)]
    clock.advance(US)
    (expired,) = still_harness.wait(hasty)
    assert (expired.kind, expired.batch_requests, expired.queue_ns) == ("DeadlineExceeded", 0, US)
    assert "deadline passed before its execution began" in expired.message
    engine.open()
    assert engine.ran(*busy, *patient) == [Ran(1, 1), Ran(2, 4), Ran(2, 4)]


def test_a_request_that_has_expired_when_its_batch_is_formed_is_never_executed(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    """The instance asks for its next batch immediately, mostly before the deadline timer runs."""
    engine = GatedEngine(still_harness, gates, max_batch_size=8)
    for _ in range(50):
        busy = engine.occupy()
        hasty = [engine.submit(2, timeout_ns=US), engine.submit(priority=0, timeout_ns=US)]
        patient = [engine.submit(3), engine.submit(4)]
        clock.advance(US)
        engine.let_through(2)
        engine.wait_for(1)
        assert engine.ran(*busy, *patient) == [Ran(1, 1), Ran(2, 7), Ran(2, 7)]
        assert kinds(still_harness, *hasty) == ["DeadlineExceeded"] * 2
    assert engine.executions == 50 * 2
    assert engine.stats.outcomes["DeadlineExceeded"] == 50 * 2


def test_a_request_without_time_is_never_executed_even_if_nothing_is_busy(
    still_harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=8)
    engine.open()
    tickets = [engine.submit(timeout_ns=0) for _ in range(50)]
    assert kinds(still_harness, *tickets) == ["DeadlineExceeded"] * 50
    assert engine.executions == 0


def test_a_request_that_is_done_in_time_is_answered(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=8)
    ticket = engine.submit(timeout_ns=US)
    engine.wait_for(1)
    clock.advance(US - 1)
    engine.open()
    assert engine.ran(ticket) == [Ran(1, 1)]


@pytest.mark.parametrize("priority", [0, 1, 2])
def test_a_cancelled_request_leaves_its_place_to_others(
    harness: Harness, gates: Gates, priority: int
) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=4)
    busy = engine.occupy()
    tickets = [engine.submit(2, priority=priority) for _ in range(3)]
    assert harness.runtime.cancel(engine.id, tickets[1])
    assert not harness.runtime.cancel(engine.id, tickets[1])
    assert kinds(harness, tickets[1]) == ["Cancelled"]
    assert engine.stats.queue_depth == 2
    engine.open()
    assert engine.ran(*busy, tickets[0], tickets[2]) == [Ran(1, 1), Ran(2, 4), Ran(2, 4)]
    assert not harness.runtime.cancel(engine.id, tickets[0])


def test_a_request_that_is_held_back_for_others_can_be_cancelled(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=4, max_queue_delay_us=1)
    engine.open()
    held, cancelled = engine.submit(), engine.submit()
    assert still_harness.runtime.cancel(engine.id, cancelled)
    clock.advance(US)
    assert engine.ran(held) == [Ran(1, 1)]
    assert kinds(still_harness, cancelled) == ["Cancelled"]
    assert engine.executions == 1


def test_unloading_without_time_to_drain_ends_all_waiting_and_running_requests(
    harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=4)
    busy = engine.occupy()
    running = [engine.submit(2) for _ in range(2)]
    engine.let_through()
    engine.wait_for(1)
    waiting = [engine.submit(width=width) for width in (1, 2, 3)]
    harness.runtime.unload(engine.id, 0.0)
    assert kinds(harness, *waiting, *running) == ["Unavailable"] * 5
    assert engine.ran(*busy) == [Ran(1, 1)]
    engine.open()
