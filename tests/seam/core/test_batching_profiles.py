"""Tests that a batch stays within one profile of its engine."""

import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness
from tests.seam.gated import PLAN, GatedEngine, Ran
from tests.submitting import submit


def with_profiles(*profiles: str) -> str:
    return "\n".join([PLAN, *(f"profile x {profile}" for profile in profiles)])


@pytest.mark.parametrize(
    ("profiles", "waiting", "batches"),
    [
        (["1 1 / 3 9"], [1] * 7, [3, 3, 1]),
        (["1 1 / 3 9"], [2, 2, 1], [2, 3]),
        (["1 1 / 2 9", "1 1 / 5 9"], [1] * 7, [5, 2]),
        (["1 1 / -1 9"], [1] * 9, [8, 1]),
        # The profiles leave a gap at 3 and 4 items.
        (["1 1 / 2 9", "5 1 / 6 9"], [1] * 4, [2, 2]),
        (["1 1 / 2 9", "5 1 / 6 9"], [1] * 5, [5]),
        (["1 1 / 2 9", "5 1 / 6 9"], [1] * 7, [6, 1]),
        (["5 1 / 6 9", "1 1 / 2 9"], [2, 2, 1, 1], [6]),
        (["1 1 / 2 9", "5 1 / 6 9"], [2, 1, 1, 5], [2, 2, 5]),
    ],
)
def test_a_batch_has_as_many_items_as_a_profile_accepts(
    harness: Harness, gates: Gates, profiles: list[str], waiting: list[int], batches: list[int]
) -> None:
    engine = GatedEngine(harness, gates, with_profiles(*profiles), max_batch_size=8)
    engine.occupy()
    tickets = [engine.submit(items) for items in waiting]
    engine.open()
    ran = engine.ran(*tickets)
    left = list(ran)
    for items in batches:
        requests = left[0].requests
        assert left[:requests] == [Ran(requests, items)] * requests
        left = left[requests:]
    assert left == []
    assert engine.executions == 1 + len(batches)


def test_only_profiles_that_accept_the_shape_count(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, with_profiles("1 1 / 4 2", "1 3 / 2 3"), max_batch_size=8)
    engine.occupy()
    narrow = [engine.submit(width=2) for _ in range(4)]
    wide = [engine.submit(width=3) for _ in range(4)]
    engine.open()
    assert engine.ran(*narrow) == [Ran(4, 4)] * 4
    assert engine.ran(*wide) == [Ran(2, 2)] * 4


def test_a_batch_that_fills_its_profile_does_not_wait_for_more(still_harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(
        still_harness, gates, with_profiles("1 1 / 2 9"), max_batch_size=8, max_queue_delay_us=1_000
    )
    engine.open()
    assert engine.ran(engine.submit(), engine.submit()) == [Ran(2, 2)] * 2


def test_a_preferred_size_that_no_profile_accepts_is_not_run(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(
        still_harness,
        gates,
        with_profiles("1 1 / 2 9", "5 1 / 8 9"),
        max_batch_size=8,
        max_queue_delay_us=1_000,
        preferred_batch_sizes=[3],
    )
    engine.open()
    tickets = [engine.submit() for _ in range(3)]
    assert engine.stats.queue_depth == 3
    clock.advance(1_000_000)
    assert engine.ran(*tickets) == [Ran(2, 2), Ran(2, 2), Ran(1, 1)]


def test_each_of_several_inputs_limits_the_batch(harness: Harness, gates: Gates) -> None:
    plan = "input x FP32 -1 -1\ninput z FP32 -1\noutput y x 2\noutput w z 2"
    gate = gates.new()
    engine = harness.load_toy(
        f"{plan}\nprofile x 1 1 / 8 9\nprofile z 1 / 3\ngate {gate}",
        batch=runtime_ext.BatchOptions(max_batch_size=8),
    )
    tickets = []
    for _ in range(7):
        tensors = [("x", "FP32", [1, 1], b"four"), ("z", "FP32", [1], b"more")]
        tickets.append(submit(harness.runtime, engine, tensors))
        gates.wait_for(gate, 1)
    gates.open(gate)
    assert [completion.batch_requests for completion in harness.wait(*tickets)] == [1, *[3] * 6]
