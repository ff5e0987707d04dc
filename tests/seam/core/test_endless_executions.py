"""Tests of executions that do not end: their effect on their requests, their engine and other engines."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import runtime_ext
from tests.seam.conftest import Gates, Harness, RunInThread
from tests.seam.gated import PLAN, GatedEngine, Ran
from tests.waiting import wait_until

US = 1_000  # nanoseconds
S = 1_000_000_000
FOREVER_S = 3e7
ONES = np.ones((1, 2), np.float32)


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    """Drop earlier lines, so that each test sees only its own."""
    runtime_ext.take_log()
    yield
    runtime_ext.take_log()


def lines(about: str) -> list[str]:
    return [record.message for record in runtime_ext.take_log() if about in record.message]


def kinds(harness: Harness, *tickets: int) -> list[str | None]:
    return [completion.kind for completion in harness.wait(*tickets)]


def wait_for_the_end(harness: Harness) -> None:
    """Wait until all abandoned executions have ended."""
    wait_until(lambda: harness.runtime.left_behind()[1] == 0, "the end of what was left behind")


class TestDeadline:
    def test_a_request_whose_deadline_passes_while_it_executes_ends_then(
        self, still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
    ) -> None:
        engine = GatedEngine(still_harness, gates)
        ticket = engine.submit(timeout_ns=5 * US)
        engine.wait_for(1)
        clock.advance(5 * US - 1)
        assert still_harness.taken() == []
        clock.advance(1)
        (ended,) = still_harness.wait(ticket)
        assert (ended.kind, ended.batch_requests) == ("DeadlineExceeded", 1)
        assert ended.message == "the request's deadline passed before its execution ended"
        assert (ended.queue_ns, ended.compute_ns) == (0, 5 * US)
        assert engine.stats.instances_busy == 1
        engine.open()
        after = engine.submit()
        assert engine.ran(after) == [Ran(1, 1)]
        assert engine.stats.outcomes["DeadlineExceeded"] == 1
        assert engine.stats.outcomes["Success"] == 1
        assert still_harness.taken() == []

    def test_its_memory_stays_until_the_execution_has_ended(
        self, still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
    ) -> None:
        engine = GatedEngine(still_harness, gates)
        x = np.full((1, 2), 7, np.float32)
        memory = weakref.ref(x)
        ticket = still_harness.submit(engine.id, US, x=x)
        engine.wait_for(1)
        del x
        clock.advance(US)
        assert kinds(still_harness, ticket) == ["DeadlineExceeded"]
        gc.collect()
        assert memory() is not None
        engine.open()
        engine.ran(engine.submit())
        still_harness.taken()
        gc.collect()
        assert memory() is None

    def test_the_others_of_its_batch_are_answered(
        self, still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
    ) -> None:
        engine = GatedEngine(still_harness, gates, max_batch_size=8)
        busy = engine.occupy()
        patient, hasty, other = engine.submit(2), engine.submit(3, timeout_ns=US), engine.submit(1)
        engine.let_through()
        engine.wait_for(1)
        clock.advance(US)
        (ended,) = still_harness.wait(hasty)
        assert (ended.kind, ended.batch_requests) == ("DeadlineExceeded", 3)
        engine.open()
        assert engine.ran(*busy, patient, other) == [Ran(1, 1), Ran(3, 6), Ran(3, 6)]
        assert engine.stats.success.count == 3
        assert engine.stats.queue_time.count == 3

    def test_an_expired_request_does_not_run_again_alone(
        self, still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
    ) -> None:
        engine = GatedEngine(still_harness, gates, f"{PLAN}\nfail_on 13", max_batch_size=8)
        busy = engine.occupy()
        bad, hasty, patient = engine.submit(value=13), engine.submit(timeout_ns=US), engine.submit()
        engine.let_through(2)  # the first request, and the batch
        engine.wait_for(2)
        clock.advance(US)
        assert kinds(still_harness, hasty) == ["DeadlineExceeded"]
        engine.open()
        assert engine.ran(*busy, patient) == [Ran(1, 1), Ran(1, 1)]
        assert kinds(still_harness, bad) == ["ExecutionFailed"]
        assert engine.executions == 4

    def test_an_execution_without_open_requests_is_interrupted_and_makes_room(
        self, still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
    ) -> None:
        engine = GatedEngine(still_harness, gates, f"{PLAN}\ninterruptible")
        stuck, waiting = engine.submit(timeout_ns=US), engine.submit()
        engine.wait_for(1)
        clock.advance(US)
        assert kinds(still_harness, stuck) == ["DeadlineExceeded"]
        engine.wait_for(1)
        engine.open()
        assert engine.ran(waiting) == [Ran(1, 1)]
        assert engine.stats.failed_executions == 0

    def test_an_execution_with_open_requests_is_not_interrupted(
        self, still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
    ) -> None:
        engine = GatedEngine(still_harness, gates, f"{PLAN}\ninterruptible", max_batch_size=8)
        busy = engine.occupy()
        hasty, patient = engine.submit(timeout_ns=US), engine.submit()
        engine.let_through()
        engine.wait_for(1)
        clock.advance(US)
        assert kinds(still_harness, hasty) == ["DeadlineExceeded"]
        engine.open()
        assert engine.ran(*busy, patient) == [Ran(1, 1), Ran(2, 2)]


class TestUnload:
    def test_it_ends_executing_requests_after_the_drain_time(
        self, still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates, run_in_thread: RunInThread
    ) -> None:
        contexts = gates.contexts
        engine = GatedEngine(still_harness, gates, instances=2)
        tickets = engine.occupy(2)
        waiting = engine.submit()
        unloading = run_in_thread(still_harness.runtime.unload, engine.id, 30.0)

        def is_unloaded() -> bool:
            clock.advance(30 * S)  # perhaps before it has looked at the clock
            return unloading.done()

        wait_until(is_unloaded, "the end of the unload")
        unloading.result()
        ends = still_harness.wait(*tickets, waiting)
        assert [end.kind for end in ends] == ["Unavailable"] * 3
        assert ends[0].message == f"engine {engine.id} was unloaded before the request was answered"
        assert still_harness.runtime.engines() == []
        assert still_harness.runtime.left_behind() == (2, 2)
        assert gates.contexts == contexts + 2
        assert len(lines("2 of its instances were executing: they were left behind")) == 1
        engine.open()
        wait_for_the_end(still_harness)
        wait_until(lambda: gates.contexts == contexts, "the end of the engine")
        assert still_harness.runtime.left_behind() == (2, 0)
        assert still_harness.taken() == []
        assert len(lines("that was left behind has ended")) == 2

    def test_the_memory_of_inputs_goes_with_the_execution_and_not_before(
        self, harness: Harness, gates: Gates
    ) -> None:
        engine = GatedEngine(harness, gates)
        x = ONES.copy()
        memory = weakref.ref(x)
        ticket = harness.submit(engine.id, x=x)
        engine.wait_for(1)
        del x
        harness.runtime.unload(engine.id, 0.0)
        assert kinds(harness, ticket) == ["Unavailable"]
        gc.collect()
        assert memory() is not None
        engine.open()
        wait_for_the_end(harness)
        harness.taken()
        gc.collect()
        assert memory() is None

    def test_its_id_is_free_immediately(self, harness: Harness, gates: Gates, tmp_path: Path) -> None:
        engine = GatedEngine(harness, gates)
        old = engine.submit()
        engine.wait_for(1)
        harness.runtime.unload(engine.id, 0.0)
        plan = tmp_path / "again.plan"
        plan.write_text("toy 1\ninput x FP32 -1 2\noutput y x 3\n")
        harness.runtime.load(engine.id, str(plan), "toy", runtime_ext.LoadOptions())
        assert harness.infer(engine.id, x=ONES)["y"].tolist() == [[3, 3]]
        engine.open()
        wait_for_the_end(harness)
        assert kinds(harness, old) == ["Unavailable"]
        assert harness.infer(engine.id, x=ONES)["y"].tolist() == [[3, 3]]

    def test_its_turns_go_to_the_other_engines(self, harness: Harness, gates: Gates) -> None:
        stuck = GatedEngine(harness, gates, instances=2)
        stuck.occupy(2)
        other = GatedEngine(harness, gates, instances=2)
        first = other.submit()
        other.wait_for(1)
        second = other.submit()  # has to wait: both turns of the device are the stuck engine's
        other.wait_until_busy(2)
        harness.runtime.unload(stuck.id, 0.0)
        other.wait_for(1)
        other.open()
        assert other.ran(first, second) == [Ran(1, 1), Ran(1, 1)]
        stuck.open()
        wait_for_the_end(harness)

    def test_it_interrupts_what_it_leaves_behind(self, harness: Harness, gates: Gates) -> None:
        contexts = gates.contexts
        engine = GatedEngine(harness, gates, f"{PLAN}\ninterruptible", instances=3)
        tickets = engine.occupy(3)
        harness.runtime.unload(engine.id, 0.0)
        wait_for_the_end(harness)
        wait_until(lambda: gates.contexts == contexts, "the end of the engine")
        assert kinds(harness, *tickets) == ["Unavailable"] * 3

    def test_a_call_of_the_operator_that_never_ends_does_not_hold_it_up(
        self, harness: Harness, gates: Gates, run_in_thread: RunInThread
    ) -> None:
        contexts = gates.contexts
        engine = GatedEngine(harness, gates)
        calling = run_in_thread(torch.ops.trt.execute_engine_list, engine.id, [torch.ones(1, 2)])
        engine.wait_for(1)
        harness.runtime.unload(engine.id, 0.0)
        assert harness.runtime.engines() == []
        engine.open()
        y, _ = calling.result()
        assert y.tolist() == [[2, 2]]
        del y
        wait_until(lambda: gates.contexts == contexts, "the end of the engine")

    def test_closing_the_runtime_leaves_running_executions_behind(self, tmp_path: Path, gates: Gates) -> None:
        contexts = gates.contexts
        harness = Harness(tmp_path)
        engine = GatedEngine(harness, gates)
        ticket = engine.submit()
        engine.wait_for(1)
        harness.runtime.close()
        assert kinds(harness, ticket) == ["Unavailable"]
        del harness.runtime, engine._harness
        runtime_ext.create_runtime().close()
        engine.open()
        wait_until(lambda: gates.contexts == contexts, "the end of the engine")

    def test_executions_that_end_while_they_are_left_behind_end_once(
        self, harness: Harness, gates: Gates
    ) -> None:
        for _ in range(100):
            engine = GatedEngine(harness, gates, f"{PLAN}\ninterruptible", instances=2, max_batch_size=4)
            tickets = [engine.submit(timeout_ns=300_000) for _ in range(6)]
            engine.let_through(2)
            harness.runtime.unload(engine.id, 0.0)
            assert set(kinds(harness, *tickets)) <= {None, "Unavailable", "DeadlineExceeded"}
        wait_for_the_end(harness)
        assert harness.taken() == []


class TestWatch:
    def test_an_execution_is_stuck_after_its_time_and_no_longer_once_it_has_ended(
        self, still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
    ) -> None:
        engine = GatedEngine(still_harness, gates, instances=2)
        ticket = engine.submit(3)
        engine.wait_for(1)
        clock.advance(60 * S - 1)
        assert engine.stats.executions_stuck == 0
        clock.advance(1)
        assert engine.stats.executions_stuck == 1
        assert still_harness.runtime.condition(engine.id).longest_stuck_seconds == 60
        engine.open()
        assert engine.ran(ticket) == [Ran(1, 3)]
        assert engine.stats.executions_stuck == 0
        assert still_harness.runtime.condition(engine.id).longest_stuck_seconds == 0

    def test_the_log_reports_it_when_it_is_stuck_and_whenever_it_has_taken_twice_as_long(
        self, still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
    ) -> None:
        engine = GatedEngine(still_harness, gates, instances=2)
        engine.submit(3)
        engine.wait_for(1)
        logged: list[str] = []

        def reports(seconds: int) -> bool:
            logged.extend(lines("stuck"))
            return bool(logged) and f"taken {seconds} s so far" in logged[-1]

        clock.advance(60 * S)
        wait_until(lambda: reports(60), "a line of the log")
        assert logged == [
            f"engine {engine.id}: 1 of 2 instances are stuck in an execution; "
            "the longest has taken 60 s so far, with 1 requests, the first of them with 'x' [3, 2]"
        ]
        clock.advance(59 * S)
        clock.advance(1 * S)
        wait_until(lambda: reports(120), "a line of the log")
        clock.advance(120 * S)
        wait_until(lambda: reports(240), "a line of the log")
        assert len(logged) == 3

    def test_the_time_after_which_it_is_stuck_is_a_setting(
        self, tmp_path: Path, clock: runtime_ext.ManualClock, gates: Gates
    ) -> None:
        harness = Harness(tmp_path, clock, stuck_after_s=2.0)
        engine = GatedEngine(harness, gates)
        engine.submit()
        engine.wait_for(1)
        clock.advance(2 * S)
        assert engine.stats.executions_stuck == 1
        engine.open()
        harness.runtime.close()

    def test_executions_are_watched_again_after_a_time_without_any(
        self, still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
    ) -> None:
        engine = GatedEngine(still_harness, gates)
        for _ in range(3):
            ticket = engine.submit()
            engine.wait_for(1)
            clock.advance(61 * S)
            wait_until(lambda: bool(lines("stuck")), "a line of the log")
            engine.let_through()
            assert engine.ran(ticket) == [Ran(1, 1)]
            clock.advance(1000 * S)
