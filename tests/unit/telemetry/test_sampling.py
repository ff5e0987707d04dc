"""Which requests are traced: the caller's word wins, and of the others a share is."""

import random

import pytest

from trtserve.telemetry.asked import TRACED, asked_in
from trtserve.telemetry.sampling import Draws, Sampler, Trace

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def trace(parent: str, rate: float = 0.0, *more: tuple[bytes, bytes]) -> Trace | None:
    asked = asked_in([(b"traceparent", parent.encode()), *more], TRACED)
    assert asked is not None
    return Sampler(Draws(rate)).trace_of(asked)


def test_a_caller_that_samples_is_the_parent_whatever_the_rate_is() -> None:
    found = trace(f"00-{TRACE_ID}-{PARENT_ID}-01", 0.0, (b"tracestate", b"a=1"))
    assert found is not None
    assert (f"{found.trace_id:032x}", f"{found.parent_id:016x}") == (TRACE_ID, PARENT_ID)
    assert found.state == b"a=1"
    assert found.span_id not in {0, found.parent_id}
    assert found.parent == f"00-{TRACE_ID}-{found.span_id:016x}-01"


@pytest.mark.parametrize("flags", ["00", "02", "fe"])
def test_a_caller_that_does_not_sample_ends_it_whatever_the_rate_is(flags: str) -> None:
    assert trace(f"00-{TRACE_ID}-{PARENT_ID}-{flags}", 1.0) is None


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "01",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-01-more",
        f"00-{TRACE_ID}-{PARENT_ID}",
        f"00-{TRACE_ID}-{PARENT_ID}-1",
    ],
)
def test_a_malformed_parent_is_none(parent: str) -> None:
    found = trace(parent, 1.0)
    assert found is not None
    assert found.parent_id == 0
    assert f"{found.trace_id:032x}" != TRACE_ID
    assert trace(parent, 0.0) is None


def test_a_later_version_may_say_more() -> None:
    found = trace(f"cc-{TRACE_ID}-{PARENT_ID}-01-what-comes-later")
    assert found is not None
    assert f"{found.trace_id:032x}" == TRACE_ID


def test_two_parents_are_none() -> None:
    parent = (b"traceparent", f"00-{TRACE_ID}-{PARENT_ID}-01".encode())
    assert asked_in([parent, parent], TRACED) is None


def test_the_rate_draws_its_share_without_a_pattern() -> None:
    chance = random.Random(7).random
    draws = Draws(0.1, chance)
    drawn = [draws.next() for _ in range(20_000)]
    assert 1800 <= sum(drawn) <= 2200
    gaps = {b - a for a, b in zip(at(drawn), at(drawn)[1:], strict=False)}
    assert len(gaps) > 20


def at(drawn: list[bool]) -> list[int]:
    return [number for number, each in enumerate(drawn) if each]


@pytest.mark.parametrize(("rate", "share"), [(0.0, 0), (1.0, 100)])
def test_none_and_all_are_exact(rate: float, share: int) -> None:
    draws = Draws(rate)
    assert sum(draws.next() for _ in range(100)) == share
