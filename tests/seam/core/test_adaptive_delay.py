"""Tests of the adaptive delay. The clock stands still unless a test moves it."""

import pytest

import runtime_ext
from runtime_ext import AUTO_DELAY
from tests.seam.conftest import Gates, Harness
from tests.seam.gated import GatedEngine, Ran

MS = 1_000_000  # nanoseconds
COMPUTE_MS = 4


class Adaptive(GatedEngine):
    """An engine whose executions take 4 ms, by the test's clock, until it is opened."""

    def __init__(
        self, harness: Harness, gates: Gates, clock: runtime_ext.ManualClock, target_ms: int
    ) -> None:
        super().__init__(
            harness,
            gates,
            max_batch_size=8,
            max_queue_delay_us=AUTO_DELAY,
            latency_target_us=target_ms * 1000,
        )
        self._clock = clock

    def execute(self) -> None:
        """Run one execution from beginning to end."""
        self.wait_for(1)
        self._clock.advance(COMPUTE_MS * MS)
        self.let_through()

    def serve_two_clients(self) -> None:
        """Run two requests together, so that two are expected from now on."""
        first = self.submit()
        self.wait_for(1)
        joined = [self.submit(), self.submit()]
        self._clock.advance(COMPUTE_MS * MS)
        self.let_through()
        self.execute()
        assert self.ran(first, *joined) == [Ran(1, 1), Ran(2, 2), Ran(2, 2)]


def test_a_lone_client_never_waits(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = Adaptive(still_harness, gates, clock, target_ms=100)
    for _ in range(3):
        ticket = engine.submit()
        engine.execute()
        engine.ran(ticket)
    engine.open()
    for _ in range(300):
        (completion,) = still_harness.wait(engine.submit())
        assert completion.queue_ns == 0


def test_a_request_waits_for_another_that_is_expected_and_no_longer_than_an_execution(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = Adaptive(still_harness, gates, clock, target_ms=100)
    engine.serve_two_clients()
    engine.open()
    held = engine.submit()
    clock.advance(COMPUTE_MS * MS - 1)
    assert engine.stats.queue_depth == 1
    clock.advance(1)
    (completion,) = still_harness.wait(held)
    assert completion.queue_ns == COMPUTE_MS * MS


def test_a_request_runs_as_soon_as_the_expected_one_has_arrived(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = Adaptive(still_harness, gates, clock, target_ms=100)
    engine.serve_two_clients()
    engine.open()
    assert engine.ran(engine.submit(), engine.submit()) == [Ran(2, 2)] * 2


def test_a_client_that_has_gone_is_soon_no_longer_expected(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = Adaptive(still_harness, gates, clock, target_ms=100)
    engine.serve_two_clients()
    engine.open()
    first = engine.submit()
    clock.advance(COMPUTE_MS * MS)
    engine.ran(first)
    assert engine.ran(engine.submit()) == [Ran(1, 1)]


@pytest.mark.parametrize(("target_ms", "longest_ms"), [(0, 0), (8, 0), (10, 2), (12, 4), (1000, 4)])
def test_the_wait_leaves_room_for_two_executions_within_the_target(
    still_harness: Harness,
    clock: runtime_ext.ManualClock,
    gates: Gates,
    target_ms: int,
    longest_ms: int,
) -> None:
    engine = Adaptive(still_harness, gates, clock, target_ms)
    engine.serve_two_clients()
    engine.open()
    held = engine.submit()
    if longest_ms:
        clock.advance(longest_ms * MS - 1)
        assert engine.stats.queue_depth == 1
        clock.advance(1)
    (completion,) = still_harness.wait(held)
    assert completion.queue_ns == longest_ms * MS


def test_nothing_waits_before_the_time_of_an_execution_is_known(still_harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(still_harness, gates, instances=3, max_batch_size=8, max_queue_delay_us=AUTO_DELAY)
    busy = engine.occupy(3)
    engine.open()
    assert engine.ran(*busy, engine.submit()) == [Ran(1, 1)] * 4
