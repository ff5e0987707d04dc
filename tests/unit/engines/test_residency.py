"""The policy of which engines are resident, alone."""

import pytest

from trtserve.engines.residency import LONGEST_STAY_S, DoesNotFit, Residency
from trtserve.settings import GIB


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def residency(clock: Clock) -> Residency:
    made = Residency(clock)
    made.budgets["cpu"] = 10
    return made


def hold(residency: Residency, id: int, *, seconds: float = 0.0, pinned: bool = False, **memory: int) -> None:
    """Hold memory for an engine that is loaded."""
    residency.hold(id, memory, pinned=pinned)
    residency.loaded(id, memory, seconds)


def test_what_fits_evicts_nothing(residency: Residency) -> None:
    hold(residency, 1, cpu=6)
    choice = residency.choose("net", {"cpu": 4}, {1: 100.0})
    assert choice.fits
    assert choice.evict == []


def test_the_engine_that_was_unused_for_longest_goes_first(residency: Residency) -> None:
    for id in (1, 2, 3):
        hold(residency, id, cpu=3)
    assert residency.choose("net", {"cpu": 3}, {1: 5.0, 2: 50.0, 3: 20.0}).evict == [2]
    assert residency.choose("net", {"cpu": 7}, {1: 5.0, 2: 50.0, 3: 20.0}).evict == [2, 3]


def test_an_engine_stays_if_the_others_that_go_free_enough_without_it(residency: Residency) -> None:
    hold(residency, 1, cpu=1)
    hold(residency, 2, cpu=8)
    assert residency.choose("net", {"cpu": 8}, {1: 50.0, 2: 5.0}).evict == [2]


def test_an_engine_with_work_is_not_evicted_and_the_load_waits(residency: Residency) -> None:
    hold(residency, 1, cpu=10)
    choice = residency.choose("net", {"cpu": 1}, {})
    assert not choice.fits
    assert choice.evict == []


def test_none_goes_if_all_idle_ones_together_do_not_free_enough(residency: Residency) -> None:
    hold(residency, 1, cpu=6)
    hold(residency, 2, cpu=4)
    assert residency.choose("net", {"cpu": 9}, {2: 100.0}).evict == []


def test_a_pinned_engine_stays_and_a_load_that_needs_its_memory_is_refused(residency: Residency) -> None:
    hold(residency, 1, cpu=6, pinned=True)
    hold(residency, 2, cpu=4)
    with pytest.raises(DoesNotFit) as refusal:
        residency.choose("9 (net)", {"cpu": 5}, {1: 100.0, 2: 100.0})
    assert str(refusal.value) == (
        "Engine 9 (net) needs 5 B on cpu, whose budget of 10 B has 0 B free; pinned engines hold 6 B of it: "
        "unload or unpin engines, or raise --memory-budget (TRTSERVE_MEMORY_BUDGET)."
    )
    assert refusal.value.retry_after is not None
    residency.pin(1, pinned=False)
    assert residency.choose("net", {"cpu": 5}, {1: 100.0, 2: 50.0}).evict == [1]


def test_another_engine_goes_in_place_of_a_pinned_one_that_was_unused_for_longer(
    residency: Residency,
) -> None:
    hold(residency, 1, cpu=4, pinned=True)
    hold(residency, 2, cpu=6)
    assert residency.choose("net", {"cpu": 3}, {1: 100.0, 2: 1.0}).evict == [2]


def test_a_load_that_may_evict_nothing_is_refused_where_nothing_is_free(residency: Residency) -> None:
    hold(residency, 1, cpu=6)
    with pytest.raises(DoesNotFit):
        residency.choose("net", {"cpu": 5}, {1: 100.0}, may_evict=False)
    assert residency.choose("net", {"cpu": 4}, {1: 100.0}, may_evict=False).fits


def test_an_engine_that_was_just_loaded_stays_for_ten_times_what_its_load_took(
    residency: Residency, clock: Clock
) -> None:
    hold(residency, 1, cpu=10, seconds=0.5)
    clock.now += 4.9
    assert residency.choose("net", {"cpu": 1}, {1: 4.9}).evict == []
    clock.now += 0.2
    assert residency.choose("net", {"cpu": 1}, {1: 5.1}).evict == [1]


def test_an_engine_whose_load_takes_long_does_not_stay_for_ever(residency: Residency, clock: Clock) -> None:
    hold(residency, 1, cpu=10, seconds=600.0)
    clock.now += LONGEST_STAY_S
    assert residency.choose("net", {"cpu": 1}, {1: 0.0}).evict == [1]


def test_an_engine_that_is_being_loaded_is_not_evicted(residency: Residency) -> None:
    residency.hold(1, {"cpu": 10}, pinned=False)
    assert residency.choose("net", {"cpu": 1}, {1: 100.0}).evict == []


def test_only_engines_on_a_device_that_is_short_go(residency: Residency) -> None:
    residency.budgets["cuda:0"] = 10
    residency.hold(1, {"cpu": 8}, pinned=False)
    residency.loaded(1, {"cpu": 8}, 0.0)
    residency.hold(2, {"cuda:0": 8, "cpu": 1}, pinned=False)
    residency.loaded(2, {"cuda:0": 8, "cpu": 1}, 0.0)
    assert residency.choose("net", {"cuda:0": 5, "cpu": 1}, {1: 100.0, 2: 5.0}).evict == [2]
    assert residency.choose("net", {"cuda:0": 1, "cpu": 5}, {1: 100.0, 2: 5.0}).evict == [1]


def test_a_device_without_a_budget_takes_everything(residency: Residency) -> None:
    assert residency.choose("net", {"cuda:1": 10**15}, {}).fits


def test_what_an_engine_holds_itself_counts_as_free_for_it(residency: Residency) -> None:
    hold(residency, 1, cpu=6)
    assert residency.choose("net", {"cpu": 10}, {}, own=1).fits


def test_more_than_the_budget_is_refused_at_once(residency: Residency) -> None:
    residency.budgets["cpu"] = 2 * GIB
    with pytest.raises(
        DoesNotFit, match=r"needs 3\.1 GiB on cpu, whose budget of 2\.0 GiB has 2\.0 GiB free"
    ):
        residency.choose("net", {"cpu": int(3.1 * GIB)}, {})


def test_what_an_engine_took_is_known_after_it_has_gone(residency: Residency) -> None:
    hold(residency, 1, cpu=6)
    residency.measured(1, {"cpu": 7})
    assert residency.resident() == {"cpu": 7}
    residency.release(1)
    assert residency.resident() == {"cpu": 0}
    assert residency.last(1) == {"cpu": 7}
    residency.forget(1)
    assert residency.last(1) is None
