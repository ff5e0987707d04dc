"""Tests of failed executions: their log lines, statistics and errors."""

from collections.abc import Iterator

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness
from tests.seam.gated import PLAN, GatedEngine
from tests.waiting import wait_until

S = 1_000_000_000
ONES = np.ones((1, 4), np.float32)
FAILS = "input x FP32 -1 4\noutput y x 2\nfail it is broken"


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """Each test sees only its own lines."""
    runtime_ext.take_log()
    yield
    runtime_ext.take_log()


def failures() -> list[str]:
    return [record.message for record in runtime_ext.take_log() if "failed" in record.message]


def fail(harness: Harness, engine: int, times: int = 1) -> None:
    for _ in range(times):
        assert harness.wait(harness.submit(engine, x=ONES))[0].kind == "ExecutionFailed"


def test_the_first_failure_is_logged_immediately_and_later_ones_are_counted_once_a_minute(
    still_harness: Harness, clock: runtime_ext.ManualClock
) -> None:
    engine = still_harness.load_toy(FAILS)
    fail(still_harness, engine)
    assert failures() == [f"an execution of engine {engine} failed: engine {engine} failed: it is broken"]
    fail(still_harness, engine, 5)
    assert failures() == []
    logged: list[str] = []
    clock.advance(60 * S)
    wait_until(lambda: bool(logged.extend(failures()) or logged), "the summary")
    assert logged == [
        f"5 more executions of engine {engine} failed within a minute; the last: "
        f"engine {engine} failed: it is broken"
    ]
    assert still_harness.stats(engine).failed_executions == 6


def test_a_failure_after_a_quiet_minute_is_logged_immediately_again(
    still_harness: Harness, clock: runtime_ext.ManualClock
) -> None:
    engine = still_harness.load_toy(FAILS)
    fail(still_harness, engine)
    assert len(failures()) == 1

    def is_logged_again() -> bool:
        clock.advance(60 * S)
        fail(still_harness, engine)
        return bool(failures())

    wait_until(is_logged_again, "a line of the log")


def test_each_engine_has_its_own_lines(still_harness: Harness) -> None:
    engines = [still_harness.load_toy(FAILS) for _ in range(2)]
    for engine in engines:
        fail(still_harness, engine)
    assert len(failures()) == 2


def test_a_batch_and_the_request_at_fault_count_as_failed_executions(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, f"{PLAN}\nfail_on 13", max_batch_size=8)
    engine.occupy()
    bad, _ = engine.submit(value=13), engine.submit()
    engine.open()
    harness.wait(bad)
    assert engine.stats.failed_executions == 2


@pytest.mark.parametrize(
    ("thrown", "kind", "sentence"),
    [
        ("bad_alloc", "Unavailable", "needs more memory than is available"),
        ("no_threads", "Unavailable", "did not get a resource from the system"),
        ("number", "ExecutionFailed", "it gave no reason"),
    ],
)
def test_whatever_an_execution_throws_ends_its_request_and_not_its_instance(
    harness: Harness, thrown: str, kind: str, sentence: str
) -> None:
    engine = harness.load_toy(f"input x FP32 -1 4\noutput y x 2\nthrow {thrown}")
    for _ in range(3):
        (failed,) = harness.wait(harness.submit(engine, x=ONES))
        assert failed.kind == kind
        assert failed.message.startswith(f"engine {engine} ")
        assert sentence in failed.message
    assert harness.stats(engine).failed_executions == 3
    assert harness.stats(engine).instances_busy == 0
