"""Tests of an engine's statistics: exact to the nanosecond, and equal in /metrics."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

import runtime_ext
from tests.seam.conftest import Gates, Harness, RunInThread
from tests.seam.gated import PLAN, GatedEngine
from trtserve.engines.metrics import Metrics

US = 1_000  # nanoseconds
MS = 1_000_000
TICK = 1_001
SIZES_KEPT = 256

Pair = tuple[int, int]


def pair(durations: runtime_ext.Duration) -> Pair:
    return durations.count, durations.ns


def phases(of: runtime_ext.EngineStats | runtime_ext.BatchStats) -> tuple[Pair, Pair, Pair]:
    return pair(of.compute_input), pair(of.compute_infer), pair(of.compute_output)


def infer_by_size(stats: runtime_ext.EngineStats) -> dict[int, Pair]:
    """Return the engine's time by batch size; the other phases took no time."""
    by_size = {}
    for batch in stats.batches:
        by_size[batch.size] = pair(batch.compute_infer)
        assert phases(batch) == (
            (batch.compute_infer.count, 0),
            by_size[batch.size],
            (by_size[batch.size][0], 0),
        )
    assert list(by_size) == sorted(by_size)
    return by_size


def failures(stats: runtime_ext.EngineStats) -> dict[str, int]:
    return {kind: count for kind, count in stats.outcomes.items() if count and kind != "Success"}


def check(stats: runtime_ext.EngineStats) -> None:
    """Check what holds at every moment, even while requests run."""
    ran = (stats.queue_time, stats.compute_input, stats.compute_infer, stats.compute_output)
    assert stats.success.count == stats.outcomes["Success"]
    assert [durations.count for durations in ran] == [stats.success.count] * 4
    assert stats.success.ns == sum(durations.ns for durations in ran)
    assert stats.fail.count == sum(failures(stats).values())
    assert stats.execution_count == sum(batch.compute_infer.count for batch in stats.batches)
    for histogram, durations in (
        (stats.queue, stats.queue_time),
        (stats.total, stats.success),
        (stats.failed, stats.fail),
    ):
        assert (sum(histogram.counts), histogram.sum) == (durations.count, durations.ns / 1e9)
    assert sum(stats.compute.counts) == stats.success.count
    assert stats.compute.sum == sum(durations.ns for durations in ran[1:]) / 1e9
    assert (sum(stats.batch.counts), stats.batch.sum) == (stats.execution_count, stats.inference_count)


def settled(engine: GatedEngine) -> runtime_ext.EngineStats:
    stats = engine.stats
    check(stats)
    return stats


# -- successes


def test_queue_and_compute_times_are_exact_to_the_nanosecond(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates)
    tickets = [*engine.occupy(), engine.submit()]
    clock.advance(3_000_001)
    engine.let_through()
    engine.wait_for(1)
    clock.advance(7)
    engine.open()
    engine.ran(*tickets)
    stats = settled(engine)
    assert pair(stats.queue_time) == (2, 3_000_001)
    assert phases(stats) == ((2, 0), (2, 3_000_001 + 7), (2, 0))
    assert pair(stats.success) == (2, 3_000_001 + 3_000_001 + 7)
    assert pair(stats.fail) == (0, 0)


@pytest.fixture
def ticking_harness(tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(tmp_path, runtime_ext.ManualClock(tick_ns=TICK))
    yield harness
    harness.runtime.close()


def test_each_phase_begins_where_the_previous_one_ended(ticking_harness: Harness) -> None:
    """The clock is read once between two phases."""
    engine = ticking_harness.load_toy("input x FP32 -1 2\noutput y x 2")
    for count in (1, 2, 3):
        ticking_harness.infer(engine, x=np.ones((1, 2), np.float32))
        stats = ticking_harness.stats(engine)
        check(stats)
        assert phases(stats) == ((count, count * TICK),) * 3
        (one,) = stats.batches
        assert phases(one) == phases(stats)
        assert stats.queue_time.ns > 0


def test_a_batch_is_one_execution_of_its_size_and_its_time_is_that_of_each_request(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=8)
    tickets = [*engine.occupy(), *(engine.submit(items) for items in (2, 3, 4, 4))]
    for ns in (5, 70, 900):
        clock.advance(ns)
        engine.let_through()
        if ns != 900:
            engine.wait_for(1)
    engine.ran(*tickets)
    stats = settled(engine)
    assert infer_by_size(stats) == {1: (1, 5), 5: (1, 70), 8: (1, 900)}
    assert pair(stats.compute_infer) == (5, 5 + 2 * 70 + 2 * 900)
    assert pair(stats.queue_time) == (5, 0 + 2 * 5 + 2 * 75)
    assert (stats.inference_count, stats.execution_count) == (1 + 5 + 8, 3)


def test_a_completion_tells_when_each_part_began_and_which_execution_it_was(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, max_batch_size=8)
    tickets = [*engine.occupy(), engine.submit(2), engine.submit(3)]
    clock.advance(5)
    engine.let_through()
    engine.wait_for(1)
    clock.advance(70)
    engine.open()
    alone, *joined = still_harness.wait(*tickets)
    begin = alone.times[1]
    assert [time - begin for time in alone.times[1:]] == [0, 0, 0, 5, 5]
    assert [[time - begin for time in each.times[1:]] for each in joined] == [[0, 5, 5, 75, 75]] * 2
    assert joined[0].times[0] == joined[1].times[0] != alone.times[0]


def test_what_did_not_happen_has_no_time(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates)
    clock.advance(7)
    (running,) = engine.occupy()
    waiting = engine.submit()
    still_harness.runtime.cancel(engine.id, waiting)
    (cancelled,) = still_harness.wait(waiting)
    assert cancelled.times == (0, 7, 0, 0, 0, 0)
    engine.open()
    still_harness.wait(running)


def test_requests_of_an_engine_that_does_not_batch_are_one_item_each(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates)
    engine.open()
    engine.ran(*(engine.submit(items) for items in (1, 4, 0)))
    stats = settled(engine)
    assert (stats.inference_count, stats.execution_count) == (3, 3)
    assert [batch.size for batch in stats.batches] == [1]


def test_the_last_success_has_a_date(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, f"{PLAN}\nfail_on 13")
    assert engine.stats.last_inference_ms == 0
    for value, date in ((1.0, 3), (13.0, 3), (2.0, 9)):
        ticket = engine.submit(value=value)
        engine.wait_for(1)
        clock.advance(3 * MS)
        engine.let_through()
        still_harness.wait(ticket)
        assert engine.stats.last_inference_ms == date


def test_sizes_beyond_those_that_are_kept_are_counted_as_the_next_power_of_two(harness: Harness) -> None:
    engine = harness.load_toy(
        "input x INT8 -1 1\noutput y x 1", batch=runtime_ext.BatchOptions(max_batch_size=2)
    )
    many = list(range(3, 3 + SIZES_KEPT))
    for items in (*many, 300, 400, 5, 513, 0):
        harness.infer(engine, x=np.zeros((items, 1), np.int8))
    stats = harness.stats(engine)
    check(stats)
    counts = {batch.size: batch.compute_infer.count for batch in stats.batches}
    assert counts == {0: 1, **dict.fromkeys(many, 1), 512: 2, 5: 2, 1024: 1}
    assert stats.inference_count == sum(many) + 300 + 400 + 5 + 513


# -- failures


def test_a_failed_execution_counts_as_a_failure_with_all_its_time_and_as_nothing_else(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, f"{PLAN}\nfail_on 13")
    tickets = [engine.submit(value=13), engine.submit(value=13)]
    engine.wait_for(1)
    clock.advance(40)
    engine.let_through()
    engine.wait_for(1)
    clock.advance(2)
    engine.open()
    still_harness.wait(*tickets)
    stats = settled(engine)
    assert failures(stats) == {"ExecutionFailed": 2}
    assert pair(stats.fail) == (2, 40 + 42)
    assert pair(stats.queue_time) == pair(stats.success) == (0, 0)
    assert phases(stats) == ((0, 0),) * 3
    assert (stats.inference_count, stats.execution_count, stats.batches) == (0, 0, [])


def test_after_a_failed_batch_only_the_executions_that_answered_count(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, f"{PLAN}\nfail_on 13", max_batch_size=8)
    busy = engine.occupy()
    before, bad, after = engine.submit(2), engine.submit(value=13), engine.submit(3)
    for ns in (1, 20, 300, 4_000):  # busy, all three, before, bad
        clock.advance(ns)
        engine.let_through()
        engine.wait_for(1)
    clock.advance(50_000)
    engine.open()
    engine.ran(*busy, before, after)
    still_harness.wait(bad)
    stats = settled(engine)
    assert infer_by_size(stats) == {1: (1, 1), 2: (1, 300), 3: (1, 50_000)}
    assert pair(stats.queue_time) == (3, 0 + 21 + 4_321)
    assert pair(stats.success) == (3, 1 + 321 + 54_321)
    assert pair(stats.fail) == (1, 4_321)
    assert (stats.inference_count, stats.execution_count) == (6, 3)


def test_a_request_that_leaves_the_queue_fails_with_its_waiting_time(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates)
    busy = engine.occupy()
    hasty, cancelled = engine.submit(timeout_ns=US), engine.submit()
    clock.advance(40)
    assert still_harness.runtime.cancel(engine.id, cancelled)
    assert pair(engine.stats.fail) == (1, 40)
    clock.advance(US)
    still_harness.wait(hasty, cancelled)
    engine.open()
    engine.ran(*busy)
    stats = settled(engine)
    assert failures(stats) == {"Cancelled": 1, "DeadlineExceeded": 1}
    assert pair(stats.fail) == (2, 40 + 40 + US)
    assert pair(stats.success) == (1, 40 + US)


def test_a_request_that_has_expired_when_its_batch_is_formed_fails_with_its_waiting_time(
    still_harness: Harness, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates)
    engine.open()
    still_harness.wait(*(engine.submit(timeout_ns=0) for _ in range(3)))
    stats = settled(engine)
    assert failures(stats) == {"DeadlineExceeded": 3}
    assert pair(stats.fail) == (3, 0)


def test_refusals_are_failures_that_took_no_time(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, queue=1)
    tickets = [*engine.occupy(), engine.submit()]
    clock.advance(5)
    for refused in ({"x": np.ones((1, 2), np.float32)}, {"z": np.ones((1, 2), np.float32)}):
        with pytest.raises(runtime_ext.Error):
            still_harness.submit(engine.id, **refused)
    stats = settled(engine)
    assert failures(stats) == {"QueueFull": 1, "InvalidInput": 1}
    assert pair(stats.fail) == (2, 0)
    engine.open()
    engine.ran(*tickets)


# -- a reader


def test_a_snapshot_has_all_of_an_execution_or_nothing(harness: Harness, run_in_thread: RunInThread) -> None:
    plan = "input x FP32 -1 2\noutput y x 2\nfail_on 13"
    options = runtime_ext.BatchOptions(max_batch_size=8)
    engine = harness.load_toy(plan, instances=3, batch=options, max_queue_size=64)
    done = Event()

    def read() -> int:
        snapshots = 0
        while not done.is_set():
            check(harness.stats(engine))
            snapshots += 1
        return snapshots

    readers = [run_in_thread(read) for _ in range(2)]
    try:
        for round in range(200):
            values = [13.0 if (round + number) % 17 == 0 else 1.0 for number in range(24)]
            harness.wait(*(harness.submit(engine, x=np.full((1, 2), value, np.float32)) for value in values))
    finally:
        done.set()
    assert all(reader.result() for reader in readers)
    stats = harness.stats(engine)
    check(stats)
    assert stats.success.count + stats.fail.count == 200 * 24
    assert stats.inference_count == sum(batch.size * batch.compute_infer.count for batch in stats.batches)


def scraped(harness: Harness, engine: int) -> dict[str, float]:
    """Return the samples that Prometheus scrapes of an engine, by name; outcomes by their own name."""
    registry: Any = SimpleNamespace(engines=list, load_problems=list, loads_waiting=0, loads_given_up=0)
    page = generate_latest(Metrics(harness.runtime, registry).registry).decode()
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return {
        sample.labels.get("outcome", sample.name): sample.value
        for sample in samples
        if sample.labels.get("id") == str(engine) and "le" not in sample.labels
    }


def test_metrics_show_the_same_nanoseconds(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates
) -> None:
    engine = GatedEngine(still_harness, gates, f"{PLAN}\nfail_on 13", max_batch_size=8)
    for ns in (1, 10_000_000_007, 3):
        tickets = [*engine.occupy(), *(engine.submit(items) for items in (2, 3)), engine.submit(1, value=13)]
        clock.advance(ns)
        assert still_harness.runtime.cancel(engine.id, tickets.pop(1))
        engine.let_through(4)
        engine.wait_for(3)
        still_harness.wait(*tickets)
    stats = settled(engine)
    page = scraped(still_harness, engine.id)
    for name, durations in (
        ("trtserve_request_queue_seconds", stats.queue_time),
        ("trtserve_request_total_seconds", stats.success),
        ("trtserve_request_failed_seconds", stats.fail),
    ):
        assert (page[f"{name}_count"], page[f"{name}_sum"]) == (durations.count, durations.ns / 1e9)
    parts = {name: getattr(stats, f"compute_{name}").ns for name in ("input", "infer", "output")}
    assert parts["infer"] == 10_000_000_011
    assert page["trtserve_request_compute_seconds_sum"] == sum(parts.values()) / 1e9
    assert page["trtserve_request_compute_seconds_count"] == stats.success.count == 6
    for name, ns in parts.items():
        assert page[f"trtserve_request_compute_{name}_seconds_total"] == ns / 1e9
    assert page["trtserve_batch_items_count"] == stats.execution_count
    assert page["trtserve_batch_items_sum"] == stats.inference_count
    assert {kind: page[kind] for kind in stats.outcomes} == stats.outcomes
    assert (page["Success"], page["ExecutionFailed"], page["Cancelled"]) == (6, 3, 3)
