"""Which engines a start loads, and what it knows of their memory, on a fake runtime."""

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import MEMORY_BYTES, FakeRuntime
from tests.unit.engines.on_demand import ask, budget, resident, serving, state, three
from tests.unit.serving import Server, loaded, until_loading
from tests.waiting import HANGS_AFTER_S, until
from trtserve.engines.engine import State
from trtserve.engines.metrics import Metrics
from trtserve.settings import Settings
from trtserve.store.database import StoredEngine
from trtserve.store.store import Store

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A budget that holds two engines."""
    return Settings(store=tmp_path / "store", drain_s=1.0, memory_budget=budget(2.5))


async def test_a_start_leaves_a_lazy_engine_to_its_first_request(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a", residency="lazy")
        assert state(server, "a") is State.READY
    async with serving(settings) as again:
        await loaded(again)
        assert (state(again, "a"), again.runtime.loads) == (State.DORMANT, [])
        assert (await ask(again, "a")).engine.state is State.READY


async def test_a_start_loads_pinned_engines_first_and_others_while_there_is_room(settings: Settings) -> None:
    async with serving(settings) as server:
        for seed, name in enumerate("abc"):
            await server.add(onnx_plan(seed), name, residency="pinned" if name == "c" else "eager")
    async with serving(settings) as again:
        await loaded(again)
        states = [state(again, name) for name in "abc"]
        assert states[2] is State.READY
        assert sorted(states[:2]) == [State.DORMANT, State.READY]
        assert again.registry.demand.evictions == 0


async def test_the_others_wait_until_a_pinned_engine_has_asked_for_memory(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings) as server:
        for seed, name in enumerate("abc"):
            await server.add(onnx_plan(seed), name, residency="pinned" if name == "c" else "eager")
        pinned = server.registry.resolve("c").engine.id
    checking, may_end = threading.Event(), threading.Event()
    check = Store.check_plan

    def slow_check(store: Store, engine: StoredEngine) -> None:
        if engine.id == pinned:
            checking.set()
            assert may_end.wait(HANGS_AFTER_S)
        check(store, engine)

    monkeypatch.setattr(Store, "check_plan", slow_check)
    async with serving(settings) as again:
        await until(checking.is_set)
        for _ in range(50):  # in which the others would be loaded
            await asyncio.to_thread(int)
        assert again.runtime.loads == []
        may_end.set()
        await loaded(again)
        assert again.runtime.loads[0][0] == pinned
        assert again.registry.demand.evictions == 0


async def test_a_pinned_engine_that_cannot_be_loaded_holds_nobody_up(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a")
        await server.add(onnx_plan(1), "b", residency="pinned")
        digest = server.registry.resolve("b").engine.digest
    (settings.store / "plans" / f"{digest}.plan").write_bytes(b"damaged")
    async with serving(settings) as again:
        await loaded(again)
        assert [state(again, name) for name in "ab"] == [State.READY, State.FAILED]


async def test_a_start_reserves_what_an_engine_took_before_it(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a")
    async with serving(settings) as again:
        again.runtime.load_gate.clear()
        restart = again.registry.resolve("a").engine
        await until_loading(again)
        assert resident(again) == MEMORY_BYTES
        assert restart.past.memory == {"cpu": {"weights": MEMORY_BYTES - 1024, "contexts": 1024}}
        again.runtime.load_gate.set()
        await loaded(again)


async def test_a_stop_keeps_what_engines_have_grown_to_and_what_a_load_for_a_request_cost(
    settings: Settings,
) -> None:
    async with serving(settings) as server:
        first, *_ = await three(server)
        await ask(server, "a")
        cold_start = server.registry.resolve("a").engine.past.cold_start_seconds
        server.runtime.memory_bytes[first] = MEMORY_BYTES * 5 // 4
    store = Store(settings.store)
    kept = {engine.id: engine.measured for engine in store.engines()}
    store.close()
    assert kept[first] is not None
    assert kept[first].total == {"cpu": MEMORY_BYTES * 5 // 4}
    assert kept[first].cold_start_seconds == cold_start is not None


async def test_a_start_whose_engines_take_what_they_took_changes_no_row(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    real = Store.record_measures

    def record(store: Store, engines: Sequence[StoredEngine]) -> None:
        kept.extend(engine.id for engine in engines)
        real(store, engines)

    monkeypatch.setattr(Store, "record_measures", record)
    async with serving(settings) as server:
        resolved, _ = await server.add(onnx_plan(0), "a")
    runtime = FakeRuntime()
    runtime.memory_bytes[resolved.engine.id] = MEMORY_BYTES + 1024
    async with serving(settings, runtime) as again:
        await loaded(again)
    assert kept == []
    runtime.end()


async def test_the_metrics_of_an_engine_have_its_name_whether_or_not_it_is_resident(
    settings: Settings,
) -> None:
    def names(server: Server) -> set[str | None]:
        """The engines that have a cold start on the page of metrics."""
        metrics = Metrics(server.runtime, server.registry)  # type: ignore[arg-type]
        metrics.look()
        family = "trtserve_engine_cold_start_seconds"
        found = next(each for each in metrics.registry.collect() if each.name == family)
        return {sample.labels["engine"] for sample in found.samples}

    async with serving(settings) as server:
        await three(server)
        assert state(server, "a") is State.DORMANT
        assert names(server) == set()
        await ask(server, "a")
        await ask(server, "b")  # evicts another
        assert names(server) == {"a", "b"}
        await ask(server, "c")
        assert State.DORMANT in {state(server, "a"), state(server, "b")}
        assert names(server) == {"a", "b", "c"}
    async with serving(settings) as again:
        assert names(again) == {"a", "b", "c"}
        await loaded(again)
