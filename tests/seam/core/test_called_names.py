"""Tests of what is counted under each of the names by which clients call an engine."""

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness
from tests.seam.gated import GatedEngine

PLAN = "input x FP32 -1 4\noutput y x 2"
ROW = np.ones((1, 4), np.float32)


def ask(harness: Harness, id: int, name: str, items: int = 1) -> int:
    prepared = harness.runtime.prepare(id, [("x", "FP32", [items, 4])], name)
    return harness.runtime.submit(prepared, (np.ones((items, 4), np.float32),))


def by_name(harness: Harness) -> dict[str, runtime_ext.EngineStats]:
    found = harness.runtime.stats()
    assert len({(stats.id, stats.name) for stats in found}) == len(found)
    return {stats.name: stats for stats in found}


def test_a_request_counts_for_the_name_that_it_calls_the_engine_by(harness: Harness) -> None:
    id = harness.load_toy(PLAN, name="net")
    harness.wait(*[ask(harness, id, name) for name in ("net", "", "alias", "alias", "alias")])
    with pytest.raises(runtime_ext.Error):
        harness.runtime.prepare(id, [("z", "FP32", [1, 4])], "alias")
    found = by_name(harness)
    assert [(stats.name, stats.is_own) for stats in harness.runtime.stats()] == [
        ("net", True),
        ("alias", False),
    ]
    assert (found["net"].success.count, found["alias"].success.count) == (2, 3)
    assert (found["net"].outcomes["InvalidInput"], found["alias"].outcomes["InvalidInput"]) == (0, 1)
    assert (found["net"].execution_count, found["alias"].execution_count) == (2, 3)
    assert (found["net"].instances > 0, found["alias"].instances) == (True, 0)


def test_an_execution_counts_once_and_its_items_for_their_names(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, PLAN, max_batch_size=16)
    busy = engine.occupy_with(ask(harness, engine.id, "a"))
    tickets = [ask(harness, engine.id, name, items) for name, items in (("b", 2), ("c", 3), ("b", 4))]
    engine.open()
    harness.wait(busy, *tickets)
    found = by_name(harness)
    assert {name: stats.execution_count for name, stats in found.items()} == {"": 0, "a": 1, "b": 1, "c": 0}
    assert {name: stats.inference_count for name, stats in found.items()} == {"": 0, "a": 1, "b": 6, "c": 3}
    assert sum(stats.batch.sum for stats in found.values()) == 10
    for stats in (found["b"], found["c"]):
        requests = stats.success.count
        assert sum(stats.queue.counts) == sum(stats.compute.counts) == stats.compute_infer.count == requests
        assert stats.last_inference_ms > 0


def test_a_request_that_fails_or_leaves_counts_for_its_name(harness: Harness, gates: Gates) -> None:
    engine = GatedEngine(harness, gates, PLAN, queue=1, max_batch_size=1)
    busy = engine.occupy_with(ask(harness, engine.id, "a"))
    waiting = ask(harness, engine.id, "b")
    with pytest.raises(runtime_ext.Error):
        ask(harness, engine.id, "c")
    harness.runtime.cancel(engine.id, waiting)
    engine.open()
    harness.wait(busy, waiting)
    found = by_name(harness)
    assert found["b"].outcomes["Cancelled"] == 1
    assert found["c"].outcomes["QueueFull"] == 1
    assert found[""].fail.count == found["a"].fail.count == 0


def test_an_engines_names_are_counted_on_in_its_next_life(harness: Harness) -> None:
    id = harness.load_toy(PLAN, name="net")
    prepared = harness.runtime.prepare(id, [("x", "FP32", [1, 4])], "alias")
    harness.wait(harness.runtime.submit(prepared, (ROW,)))
    path = harness.folder / f"{id}.plan"
    harness.runtime.unload(id, keep_counts=True)
    assert by_name(harness)["alias"].success.count == 1
    harness.runtime.load(id, str(path), "toy", runtime_ext.LoadOptions(name="other"))
    harness.wait(harness.runtime.submit(prepared, (ROW,)))
    harness.wait(ask(harness, id, "other"))
    found = by_name(harness)
    assert {name: stats.success.count for name, stats in found.items()} == {"net": 0, "alias": 2, "other": 1}
    assert found["net"].is_own
    harness.runtime.unload(id)
    harness.runtime.load(id, str(path), "toy", runtime_ext.LoadOptions(name="other"))
    harness.wait(harness.runtime.submit(prepared, (ROW,)))
    assert {name: stats.success.count for name, stats in by_name(harness).items()} == {"other": 0, "alias": 1}


def test_the_names_of_an_engine_are_bounded(harness: Harness) -> None:
    id = harness.load_toy(PLAN, name="net")
    harness.wait(*[ask(harness, id, f"name{number}") for number in range(100)])
    found = by_name(harness)
    assert len(found) == 64
    assert found["net"].success.count == 100 - 63
