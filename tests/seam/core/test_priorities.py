"""Tests of which waiting requests go first."""

import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness
from tests.seam.gated import GatedEngine, Ran

HIGH, NORMAL, LOW = range(3)


@pytest.mark.parametrize("max_batch_size", [1, 2])
def test_the_more_urgent_go_first_and_the_equally_urgent_by_arrival(
    harness: Harness, gates: Gates, max_batch_size: int
) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=max_batch_size)
    busy = engine.occupy()
    priorities = [LOW, NORMAL, HIGH, LOW, NORMAL, HIGH, HIGH, NORMAL]
    tickets = [engine.submit(max_batch_size, priority=priority) for priority in priorities]
    engine.open()
    engine.ran(*busy, *tickets)
    by_urgency = sorted(range(len(tickets)), key=lambda i: (priorities[i], i))
    assert harness.order == busy + [tickets[i] for i in by_urgency]


def test_requests_of_different_priorities_are_joined_the_most_urgent_first(
    harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=4)
    busy = engine.occupy()
    low, later_low = engine.submit(priority=LOW), engine.submit(2, priority=LOW)
    normal, high = engine.submit(priority=NORMAL), engine.submit(2, priority=HIGH)
    engine.open()
    assert engine.ran(high, normal, low, later_low) == [Ran(3, 4)] * 3 + [Ran(1, 2)]
    assert harness.order == [*busy, high, normal, low, later_low]


def test_the_shape_with_the_most_urgent_request_goes_first(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, max_batch_size=4)
    busy = engine.occupy()
    early = [engine.submit(width=2), engine.submit(width=2, priority=LOW)]
    urgent = [engine.submit(width=3, priority=LOW), engine.submit(width=3, priority=HIGH)]
    engine.open()
    assert engine.ran(*early, *urgent) == [Ran(2, 2)] * 4
    assert harness.order == [*busy, urgent[1], urgent[0], *early]


def test_a_request_has_normal_priority_by_default(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates)
    busy = engine.occupy()
    low = engine.submit(priority=LOW)
    prepared = harness.runtime.prepare(engine.id, [("x", "FP32", [1, 1])])
    usual = harness.runtime.submit(prepared, (b"four",))
    high = engine.submit(priority=HIGH)
    engine.open()
    harness.wait(*busy, low, usual, high)
    assert harness.order == [*busy, high, usual, low]


@pytest.mark.parametrize("priority", [-1, 3])
def test_an_unknown_priority_is_refused(harness: Harness, gates: Gates, priority: int) -> None:
    engine = GatedEngine(harness, gates)
    with pytest.raises(runtime_ext.Error, match=f"priority is {priority}; allowed are 0") as refused:
        engine.submit(priority=priority)
    assert refused.value.kind == "InvalidInput"
