"""Tests of how long an incomplete batch waits. The clock stands still unless a test moves it."""

import runtime_ext
from tests.seam.conftest import Gates, Harness, RunInThread
from tests.seam.gated import GatedEngine, Ran

US = 1_000  # nanoseconds
DELAY_US = 1_000


def test_a_batch_waits_for_its_delay(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=8, max_queue_delay_us=DELAY_US)
    engine.open()
    first = engine.submit()
    clock.advance((DELAY_US - 1) * US)
    second = engine.submit(2)
    assert engine.stats.queue_depth == 2
    clock.advance(US)
    assert engine.ran(first, second) == [Ran(2, 3)] * 2


def test_a_full_batch_does_not_wait(still_harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=4, max_queue_delay_us=DELAY_US)
    engine.open()
    tickets = [engine.submit(items) for items in (1, 2, 1)]
    assert engine.ran(*tickets) == [Ran(3, 4)] * 3


def test_a_request_that_leaves_no_room_for_another_does_not_wait(
    still_harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=4, max_queue_delay_us=DELAY_US)
    engine.open()
    assert engine.ran(engine.submit(4), engine.submit(7), engine.submit(0)) == [
        Ran(1, 4),
        Ran(1, 7),
        Ran(1, 0),
    ]


def test_the_rest_after_a_full_batch_waits_for_its_own_delay(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=4, max_queue_delay_us=DELAY_US)
    engine.open()
    tickets = [engine.submit(3), engine.submit(3)]
    assert engine.ran(tickets[0]) == [Ran(1, 3)]
    clock.advance(DELAY_US * US)
    assert engine.ran(tickets[1]) == [Ran(1, 3)]


def test_the_rest_after_a_full_batch_is_taken_immediately_by_a_waiting_instance(
    harness: Harness, gates: Gates
) -> None:
    """Uses the real clock, which wakes no thread within the delay of an hour."""
    engine = GatedEngine(harness, gates, instances=2, max_batch_size=8, max_queue_delay_us=3_600_000_000)
    for _ in range(20):
        tickets = [engine.submit(), engine.submit(8)]
        engine.wait_for(2)
        engine.let_through(2)
        assert engine.ran(*tickets) == [Ran(1, 1), Ran(1, 8)]


def test_a_preferred_size_does_not_wait_and_the_rest_does(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(
        still_harness, gates, max_batch_size=8, max_queue_delay_us=DELAY_US, preferred_batch_sizes=[4, 2]
    )
    busy = engine.occupy(items=8)
    tickets = [engine.submit() for _ in range(5)]
    engine.open()
    assert engine.ran(*busy, *tickets[:4]) == [Ran(1, 8), *[Ran(4, 4)] * 4]
    assert engine.stats.queue_depth == 1
    clock.advance(DELAY_US * US)
    assert engine.ran(tickets[4]) == [Ran(1, 1)]


def test_requests_that_make_up_no_preferred_size_wait(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(
        still_harness, gates, max_batch_size=8, max_queue_delay_us=DELAY_US, preferred_batch_sizes=[4]
    )
    engine.open()
    tickets = [engine.submit(3), engine.submit(3)]
    clock.advance(DELAY_US * US)
    assert engine.ran(*tickets) == [Ran(2, 6)] * 2


def test_the_delay_of_one_shape_does_not_hold_up_another(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=2, max_queue_delay_us=DELAY_US)
    engine.open()
    held = engine.submit(width=2)
    assert engine.ran(engine.submit(2, width=3)) == [Ran(1, 2)]
    clock.advance(DELAY_US * US)
    assert engine.ran(held) == [Ran(1, 1)]


def test_every_shape_is_watched_while_several_are_held(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, instances=2, max_batch_size=2, max_queue_delay_us=DELAY_US)
    engine.open()
    tickets = []
    for width in range(1, 6):
        tickets.append(engine.submit(width=width))
        clock.advance(US)
    clock.advance(DELAY_US * US)
    assert engine.ran(*tickets) == [Ran(1, 1)] * 5


def test_a_request_that_would_expire_during_its_delay_is_not_held(
    still_harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=8, max_queue_delay_us=DELAY_US)
    engine.open()
    held = engine.submit()
    hasty = engine.submit(timeout_ns=DELAY_US * US)
    assert engine.ran(held, hasty) == [Ran(2, 2)] * 2


def test_a_request_that_lives_longer_than_its_delay_is_held(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=8, max_queue_delay_us=DELAY_US)
    engine.open()
    tickets = [engine.submit(timeout_ns=DELAY_US * US + 1) for _ in range(2)]
    assert engine.stats.queue_depth == 2
    clock.advance(DELAY_US * US)
    assert engine.ran(*tickets) == [Ran(2, 2)] * 2


def test_unloading_ends_every_delay(still_harness: Harness, gates: Gates, run_in_thread: RunInThread) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=8, max_queue_delay_us=DELAY_US)
    engine.open()
    tickets = [engine.submit(width=width) for width in (1, 2, 1)]
    run_in_thread(still_harness.runtime.unload, engine.id, 60.0).result()
    assert engine.ran(*tickets) == [Ran(2, 2), Ran(1, 1), Ran(2, 2)]
