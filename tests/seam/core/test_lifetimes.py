"""Tests of lifetimes: statistics, engines and requests at the end of their runtime."""

from itertools import count
from pathlib import Path

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness, RunInThread
from tests.seam.threads import threads
from tests.waiting import wait_until

DOUBLE = "input x FP32 -1 4\noutput y x 2"
ONES = np.ones((1, 4), np.float32)


def test_statistics_are_snapshots_that_outlive_their_runtime(harness: Harness) -> None:
    engine = harness.load_toy(DOUBLE)
    before = harness.stats(engine)
    harness.infer(engine, x=ONES)
    harness.runtime.close()
    assert before.outcomes["Success"] == 0
    assert before.name == ""


def test_a_scrape_during_an_unload_does_not_keep_the_engine(harness: Harness, gates: Gates) -> None:
    contexts = gates.contexts
    engine = harness.load_toy(DOUBLE)
    stats = harness.runtime.stats()
    harness.runtime.unload(engine)
    assert gates.contexts == contexts
    assert [s.id for s in stats] == [engine]


def test_close_waits_for_an_unload_that_is_under_way(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    contexts = gates.contexts
    gate = gates.new()
    engine = harness.load_toy(f"{DOUBLE}\ngate {gate}", max_queue_size=1_000_000)
    tickets = [harness.submit(engine, x=ONES) for _ in range(4)]
    gates.wait_for(gate, 1)
    unloading = run_in_thread(harness.runtime.unload, engine, 60.0)
    # Submit until the unload has begun: the queue then accepts no more.
    with pytest.raises(runtime_ext.Error, match="being unloaded"):
        tickets.extend(harness.submit(engine, x=ONES) for _ in count())
    closing = run_in_thread(harness.runtime.close)
    gates.open(gate)
    closing.result()
    assert gates.contexts == contexts
    unloading.result()
    assert [completion.kind for completion in harness.wait(*tickets)] == [None] * len(tickets)


def test_close_does_not_wait_for_a_load_which_is_released_when_it_ends(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    contexts = gates.contexts
    gate = gates.new()
    loading = run_in_thread(harness.load_toy, f"{DOUBLE}\nload_gate {gate}")
    gates.wait_for(gate, 1)
    harness.runtime.close()
    gates.open(gate)
    with pytest.raises(runtime_ext.Error, match="the runtime is closed") as refused:
        loading.result()
    assert refused.value.kind == "Unavailable"
    assert gates.contexts == contexts
    assert harness.runtime.engines() == []


def test_a_runtime_that_python_drops_closes_itself(tmp_path: Path, gates: Gates) -> None:
    contexts = gates.contexts
    before = threads()
    harness = Harness(tmp_path)
    harness.load_toy(DOUBLE, instances=2)
    assert gates.contexts == contexts + 2
    own = threads() - before
    assert own
    del harness
    assert gates.contexts == contexts
    wait_until(lambda: not own & threads(), "the end of its threads")
    runtime_ext.create_runtime().close()
