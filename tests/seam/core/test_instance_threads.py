"""Tests of the threads that instances use."""

import os
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

import runtime_ext
from tests.seam.conftest import Gates, Harness
from tests.seam.threads import instance_threads, threads
from tests.waiting import HANGS_AFTER_S, wait_until


@pytest.fixture
def four_threads() -> Iterator[None]:
    """Let torch use four threads for an operation, whatever the machine has."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("four_threads")
def test_an_instance_has_one_thread_even_for_large_operations(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    batch = runtime_ext.BatchOptions(
        max_batch_size=1024, max_queue_delay_us=10_000_000, batch_dims={"x": 1, "y": 1}
    )
    plan = f"input x FP32 512 -1\noutput y x 2\ngate {gate}"
    before = instance_threads()
    engine = harness.load_toy(plan, instances=2, batch=batch)
    x = np.ones((512, 512), np.float32)
    tickets = [harness.submit(engine, x=x) for _ in range(4)]  # two batches of two, joined along dimension 1
    gates.wait_for(gate, 2)
    gates.open(gate)
    assert all(completion.kind is None for completion in harness.wait(*tickets))
    # A request may start a thread although one is on its way to the idle ones. With torch's threads for only
    # one batch, there would be three more than the two that run the batches.
    assert 2 <= len(instance_threads() - before) <= len(tickets)
    harness.runtime.unload(engine)


def test_idle_engines_have_no_threads(harness: Harness) -> None:
    x = np.ones(4, np.float32)
    plan = "input x FP32 4\noutput y x 2"
    engines = [harness.load_toy(plan, instances=2)]
    harness.infer(engines[0], x=x)
    before = threads()
    engines += [harness.load_toy(plan, instances=2) for _ in range(50)]
    assert not threads() - before
    for engine in engines:
        harness.infer(engine, x=x)
    # A thread may still be on its way to the idle ones when the next request comes.
    assert len(threads() - before) < 10


def test_a_burst_finds_the_threads_of_the_one_before_which_end_if_there_is_none(
    still_harness: Harness, gates: Gates, clock: runtime_ext.ManualClock
) -> None:
    before = instance_threads()

    def burst() -> set[int]:
        gate = gates.new()
        plan = f"input x FP32 4\noutput y x 2\ngate {gate}"
        engines = [still_harness.load_toy(plan) for _ in range(40)]
        tickets = [still_harness.submit(engine, x=np.ones(4, np.float32)) for engine in engines]
        gates.wait_for(gate, 40)
        new = instance_threads() - before
        gates.open(gate)
        assert all(completion.kind is None for completion in still_harness.wait(*tickets))
        for engine in engines:  # after this, its thread is idle
            still_harness.runtime.unload(engine)
        return new

    first = burst()
    assert len(first) == 40
    assert burst() == first
    clock.advance(9_900_000_000)
    assert burst() == first
    clock.advance(10_000_000_000)
    wait_until(lambda: len(instance_threads() - before) == 32, "a burst's further threads end")


def test_engines_that_are_busy_at_the_same_time_have_a_thread_each(harness: Harness, gates: Gates) -> None:
    gate = gates.new()
    before = instance_threads()
    engines = [harness.load_toy(f"input x FP32 4\noutput y x 2\ngate {gate}") for _ in range(40)]
    tickets = [harness.submit(engine, x=np.ones(4, np.float32)) for engine in engines]
    gates.wait_for(gate, 40)
    assert len(instance_threads() - before) >= 40
    gates.open(gate)
    assert all(completion.kind is None for completion in harness.wait(*tickets))
    harness.runtime.close()
    until = time.monotonic() + HANGS_AFTER_S
    while instance_threads() - before:  # the system forgets a thread a moment after it was joined
        assert time.monotonic() < until, "threads are left"
        os.sched_yield()
