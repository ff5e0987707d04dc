"""Tests of lone short requests, which the thread that submits them runs itself."""

import select
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness, RunInThread, to_numpy

PLAN = "input x FP32 -1 4\noutput y x 2\nsteady"
X = np.ones((1, 4), np.float32)
WARM = 3  # short executions after which a request counts as short


@pytest.fixture
def harness(tmp_path: Path, clock: runtime_ext.ManualClock) -> Iterator[Harness]:
    """A runtime that holds short requests; its clock stands still, so every execution is short."""
    harness = Harness(tmp_path, clock)
    harness.runtime.hold_short_requests(True)
    yield harness
    harness.runtime.close()


@pytest.fixture
def clock() -> runtime_ext.ManualClock:
    return runtime_ext.ManualClock()


def warm(harness: Harness, engine: int) -> runtime_ext.Prepared:
    """Run requests until they are known to be short; return their description."""
    prepared = harness.runtime.prepare(engine, [("x", "FP32", [1, 4])])
    for _ in range(WARM):
        harness.wait(harness.runtime.submit(prepared, (X,)))
    return prepared


@pytest.fixture
def engine(harness: Harness) -> int:
    return harness.load_toy(PLAN, instances=1, batch=runtime_ext.BatchOptions(max_batch_size=8))


def is_readable(harness: Harness) -> bool:
    return bool(select.select([harness.runtime.completion_fd()], [], [], 0)[0])


def test_a_lone_short_request_runs_on_the_thread_that_submits_it(harness: Harness, engine: int) -> None:
    prepared = warm(harness, engine)
    for number in range(5):
        ticket = harness.runtime.submit(prepared, (X * number,))
        assert harness.stats(engine).queue_depth == 1  # no other thread takes it
        (completion,) = harness.runtime.run_held()
        assert (completion.ticket, completion.kind) == (ticket, None)
        assert to_numpy(completion.outputs[0]).tolist() == [[2 * number] * 4]
        assert not is_readable(harness)
    stats = harness.stats(engine)
    assert (stats.outcomes["Success"], stats.queue_depth, stats.instances_busy) == (WARM + 5, 0, 0)
    assert harness.runtime.run_held() == []


def test_requests_that_arrive_together_run_on_a_worker_thread(harness: Harness, engine: int) -> None:
    prepared = warm(harness, engine)
    tickets = [harness.runtime.submit(prepared, (X * number,)) for number in range(3)]
    held = harness.runtime.run_held()
    assert all(completion.kind is None for completion in held)
    rest = [ticket for ticket in tickets if ticket not in [completion.ticket for completion in held]]
    assert [completion.kind for completion in harness.wait(*rest)] == [None] * len(rest)


def test_a_request_whose_executions_took_long_is_not_held(tmp_path: Path) -> None:
    harness = Harness(tmp_path, runtime_ext.ManualClock(tick_ns=200_000))
    harness.runtime.hold_short_requests(True)
    prepared = warm(harness, engine := harness.load_toy(PLAN))
    harness.wait(harness.runtime.submit(prepared, (X,)))  # without run_held()
    assert harness.stats(engine).outcomes["Success"] == WARM + 1
    harness.runtime.close()


def test_a_request_of_another_shape_must_prove_itself_first(harness: Harness, engine: int) -> None:
    warm(harness, engine)
    other = harness.runtime.prepare(engine, [("x", "FP32", [2, 4])])
    harness.wait(harness.runtime.submit(other, (np.ones((2, 4), np.float32),)))  # without run_held()


def test_an_engine_that_may_wait_is_never_run_by_the_submitter(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    engine = harness.load_toy(f"input x FP32 -1 4\noutput y x 2\ngate {gate}")
    prepared = harness.runtime.prepare(engine, [("x", "FP32", [1, 4])])
    gates.let_through(gate, WARM)
    for _ in range(WARM):
        harness.wait(harness.runtime.submit(prepared, (X,)))
    ticket = harness.runtime.submit(prepared, (X,))
    assert harness.runtime.run_held() == []
    gates.open(gate)
    harness.wait(ticket)


def test_requests_are_held_only_while_it_is_asked_for(harness: Harness, engine: int) -> None:
    prepared = warm(harness, engine)
    harness.runtime.hold_short_requests(False)
    harness.wait(harness.runtime.submit(prepared, (X,)))


def test_a_held_request_can_be_cancelled(harness: Harness, engine: int) -> None:
    prepared = warm(harness, engine)
    ticket = harness.runtime.submit(prepared, (X,))
    assert harness.runtime.cancel(engine, ticket)
    assert [(c.ticket, c.kind) for c in harness.runtime.run_held()] == [(ticket, "Cancelled")]
    again = harness.runtime.submit(prepared, (X,))
    assert [(c.ticket, c.kind) for c in harness.runtime.run_held()] == [(again, None)]


def test_a_held_request_expires(harness: Harness, engine: int, clock: runtime_ext.ManualClock) -> None:
    prepared = warm(harness, engine)
    ticket = harness.runtime.submit(prepared, (X,), timeout_ns=1000)
    clock.advance(1000)
    (completion,) = harness.wait(ticket)
    assert completion.kind == "DeadlineExceeded"
    assert harness.runtime.run_held() == []


def test_a_held_request_ends_with_its_engine(
    harness: Harness, engine: int, run_in_thread: RunInThread
) -> None:
    prepared = warm(harness, engine)
    ticket = harness.runtime.submit(prepared, (X,))
    run_in_thread(harness.runtime.unload, engine, 0.0).result()
    (completion,) = harness.wait(ticket)
    assert completion.kind == "Unavailable"
    assert harness.runtime.run_held() == []


def test_the_held_requests_of_many_engines_do_not_hold_up_the_submitter(tmp_path: Path) -> None:
    """The clock ticks so that each execution takes 60 microseconds: five are more than may be held."""
    harness = Harness(tmp_path, runtime_ext.ManualClock(tick_ns=20_000))
    harness.runtime.hold_short_requests(True)
    prepared = [warm(harness, harness.load_toy(PLAN)) for _ in range(6)]
    tickets = [harness.runtime.submit(each, (X,)) for each in prepared]
    assert [completion.kind for completion in harness.wait(*tickets[4:])] == [None, None]  # not held
    assert [completion.ticket for completion in harness.runtime.run_held()] == tickets[:4]
    harness.runtime.close()
