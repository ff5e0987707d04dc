"""Engines that are loaded by requests and evicted for others, on a fake runtime."""

import asyncio
from pathlib import Path

import pytest

from runtime_ext import Error
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import MEMORY_BYTES, error
from tests.submitting import submit
from tests.unit.engines.on_demand import ROW, Sleep, ask, budget, busy, cold, resident, serving, state, three
from tests.unit.serving import loaded, until_loading
from tests.waiting import until
from trtserve.engines.engine import State
from trtserve.errors import QueueFull, Unavailable
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A budget that holds two engines."""
    return Settings(store=tmp_path / "store", drain_s=1.0, memory_budget=budget(2.5))


async def test_the_engine_that_was_unused_for_longest_makes_room_for_an_upload(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a")
        await server.add(onnx_plan(1), "b")
        await ask(server, "a")
        await server.add(onnx_plan(2), "c")
        assert [state(server, name) for name in "abc"] == [State.READY, State.DORMANT, State.READY]
        assert resident(server) == 2 * MEMORY_BYTES
        assert server.registry.demand.evictions == 1


async def test_a_request_loads_an_evicted_engine_with_what_it_had(settings: Settings) -> None:
    async with serving(settings) as server:
        (before, *_), _ = await server.add(onnx_plan(0), "a", instances=3)
        for seed in (1, 2):
            await server.add(onnx_plan(seed))
        asleep = server.registry.resolve("a").engine
        assert (asleep.state, asleep.info) == (State.DORMANT, before.info)
        resolved = await ask(server, "a")
        assert resolved.engine.state is State.READY
        assert server.runtime.loads[-1][3].instances == 3
        assert resolved.engine.past.cold_start_seconds is not None
        assert (server.registry.demand.loads, server.registry.demand.waits) == (1, 1)


async def test_requests_for_one_engine_share_its_load(settings: Settings) -> None:
    async with cold(settings) as (server, id):
        asking = [asyncio.create_task(ask(server, "a")) for _ in range(20)]
        await until_loading(server, 4)
        assert server.registry.demand.waiting == 20
        server.runtime.load_gate.set()
        assert {(await one).engine.id for one in asking} == {id}
        assert len(server.runtime.loads) == 4
        assert (server.registry.demand.waiting, server.registry.demand.loads) == (0, 1)


async def test_no_more_requests_wait_than_the_queue_takes(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a", max_queue_size=2)
        for seed in (1, 2):
            await server.add(onnx_plan(seed))
        server.runtime.load_gate.clear()
        asking = [asyncio.create_task(ask(server, "a")) for _ in range(2)]
        await until(lambda: server.registry.demand.waiting == 2)
        with pytest.raises(
            QueueFull, match=r"2 requests wait for engine .* as many as its queue takes"
        ) as full:
            await server.registry.demand.resident("a")
        assert full.value.retry_after is not None
        server.runtime.load_gate.set()
        await asyncio.gather(*asking)


async def test_a_load_that_fails_ends_the_wait_of_all_and_the_engine_is_failed(settings: Settings) -> None:
    async with cold(settings) as (server, _):
        server.runtime.load_error = error("InvalidInput", "This plan is broken.")
        asking = [asyncio.create_task(ask(server, "a")) for _ in range(3)]
        await until_loading(server, 4)
        server.runtime.load_gate.set()
        for end in await asyncio.gather(*asking, return_exceptions=True):
            assert "could not be loaded: This plan is broken." in str(end)
        assert state(server, "a") is State.FAILED
        assert server.registry.demand.loads == 0
        with pytest.raises(Unavailable, match="could not be loaded"):
            await server.registry.demand.resident("a")


async def test_a_shortage_leaves_the_engine_to_the_next_request(settings: Settings) -> None:
    async with cold(settings) as (server, _):
        server.runtime.load_gate.set()
        server.runtime.load_error = error("Unavailable", "There is too little memory.", 5.0)
        with pytest.raises(Error, match="too little memory"):
            await server.registry.demand.resident("a")
        assert state(server, "a") is State.DORMANT
        server.runtime.load_error = None
        assert (await ask(server, "a")).engine.state is State.READY


async def test_a_load_that_lacks_something_is_tried_once_for_all_that_wait(settings: Settings) -> None:
    async with cold(settings) as (server, _):
        server.runtime.load_error = error("Unavailable", "There is too little memory.", 5.0)
        asking = [asyncio.create_task(ask(server, "a")) for _ in range(5)]
        await until(lambda: server.registry.demand.waiting == 5)
        server.runtime.load_gate.set()
        for end in await asyncio.gather(*asking, return_exceptions=True):
            assert "too little memory" in str(end)
        assert len(server.runtime.loads) == 4


async def test_an_engine_with_work_is_not_evicted_and_the_next_load_waits_for_it(settings: Settings) -> None:
    async with busy(settings) as (server, first):
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: server.registry.demand.waiting == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not asking.done()
        assert [state(server, name) for name in "bc"] == [State.READY, State.READY]
        server.runtime.release()
        assert (await asking).engine.id == first
        assert server.registry.demand.evictions == 2


async def test_a_load_for_which_nobody_waits_any_more_gives_up_its_wait_for_memory(
    settings: Settings,
) -> None:
    sleep = Sleep()
    async with busy(settings, sleep=sleep) as (server, _):
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: sleep.times > 0)
        asking.cancel()
        await until(lambda: server.registry.resolve("a").engine.state is State.DORMANT)
        server.runtime.release()
        assert len(server.runtime.loads) == 3


async def test_an_unload_during_the_wait_ends_it(settings: Settings) -> None:
    async with cold(settings) as (server, _):
        asking = asyncio.create_task(ask(server, "a"))
        await until_loading(server, 4)
        unloading = asyncio.create_task(server.registry.unload("a"))
        with pytest.raises(Unavailable, match="is being removed or unloaded"):
            await asking
        server.runtime.load_gate.set()
        await unloading
        assert state(server, "a") is State.UNLOADED
        with pytest.raises(Unavailable, match="is unloaded: load it with"):
            await server.registry.demand.resident("a")


async def test_a_removal_during_the_wait_ends_it_and_nothing_is_left(settings: Settings) -> None:
    async with cold(settings) as (server, _):
        asking = asyncio.create_task(ask(server, "a"))
        await until_loading(server, 4)
        removing = asyncio.create_task(server.registry.remove("a"))
        with pytest.raises(Unavailable, match="is being removed or unloaded"):
            await asking
        server.runtime.load_gate.set()
        await removing
        assert len(server.files()) == 2
        assert resident(server) == sum(MEMORY_BYTES for _ in server.runtime.engines())
        assert len(server.runtime.stats()) == 2


async def test_an_unload_does_not_wait_for_the_memory_of_a_load(settings: Settings) -> None:
    sleep = Sleep()
    async with busy(settings, sleep=sleep) as (server, _):
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: sleep.times > 0)
        await server.registry.unload("a")
        with pytest.raises(Unavailable, match="is being removed or unloaded"):
            await asking
        assert state(server, "a") is State.UNLOADED
        server.runtime.release()


async def test_an_unload_does_not_wait_for_loads_that_came_before(settings: Settings) -> None:
    async with serving(settings) as server:
        await three(server)
        await server.add(onnx_plan(3), "d")
        resident = [server.registry.resolve(name).engine for name in "abcd"]
        busy = [engine.id for engine in resident if engine.state is State.READY]
        asleep = [engine for engine in resident if engine.state is State.DORMANT]
        server.runtime.hold()
        for id in busy:
            submit(server.runtime, id, [ROW])
        asking = [asyncio.create_task(ask(server, str(engine.id))) for engine in asleep]
        await until(lambda: all(state(server, str(e.id)) is State.LOADING for e in asleep))
        await server.registry.unload(str(asleep[-1].id))
        with pytest.raises(Unavailable, match="is being removed or unloaded"):
            await asking[-1]
        assert not asking[0].done()
        server.runtime.release()
        await asking[0]


async def test_an_eviction_keeps_the_counters_and_an_unload_does_not(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(0), "a")
        for _ in range(3):
            await ask(server, "a")
        for seed in (1, 2):
            await server.add(onnx_plan(seed))

        def successes() -> list[int]:
            return [one.outcomes["Success"] for one in server.runtime.stats() if one.id == first.id]

        assert state(server, "a") is State.DORMANT
        assert successes() == [3]
        await ask(server, "a")
        assert successes() == [4]
        await server.registry.unload("a")
        assert successes() == []


async def test_a_dormant_engine_that_is_unloaded_stays_so_and_its_counters_go(settings: Settings) -> None:
    async with serving(settings) as server:
        first, *_ = await three(server)
        await server.registry.unload("a")
        assert state(server, "a") is State.UNLOADED
        assert first not in [stats.id for stats in server.runtime.stats()]
    async with serving(settings) as again:
        await loaded(again)
        assert state(again, "a") is State.UNLOADED


async def test_the_residency_of_a_ready_engine_changes_without_a_load(tmp_path: Path) -> None:
    settings = Settings(store=tmp_path / "store", memory_budget=budget(1.5))
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a", residency="pinned")
        await server.registry.load("a", EngineOptions(residency="lazy"))
        assert len(server.runtime.loads) == 1
        await server.add(onnx_plan(1), "b")
        assert state(server, "a") is State.DORMANT
    async with serving(settings) as again:
        await loaded(again)
        assert state(again, "a") is State.DORMANT
        assert again.registry.resolve("a").engine.stored.options.residency == "lazy"


async def test_a_request_that_comes_during_an_eviction_waits_and_loads_the_engine_again(
    settings: Settings,
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a")
        await server.add(onnx_plan(1), "b")
        server.runtime.unload_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan(2), "c"))
        await until(lambda: state(server, "a") is State.DRAINING)
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: server.registry.demand.waiting == 1)
        server.runtime.unload_gate.set()
        await adding
        assert (await asking).engine.state is State.READY
        assert resident(server) <= 2.5 * MEMORY_BYTES


async def test_an_explicit_load_of_a_dormant_engine_serves_those_that_come_meanwhile(
    settings: Settings,
) -> None:
    async with cold(settings) as (server, _):
        loading = asyncio.create_task(server.registry.load("a"))
        await until_loading(server, 4)
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: server.registry.demand.waiting == 1)
        server.runtime.load_gate.set()
        await loading
        assert (await asking).engine.state is State.READY
        assert len(server.runtime.loads) == 4
        assert server.registry.demand.loads == 0


async def test_a_name_is_pointed_to_a_dormant_version_without_a_load(settings: Settings) -> None:
    async with serving(settings) as server:
        for seed in range(3):
            await server.add(onnx_plan(seed), "net")
        assert server.registry.resolve("net", "1").engine.state is State.DORMANT
        await server.registry.point("net", 1)
        assert len(server.runtime.loads) == 3
        assert (await ask(server, "net")).version == 1


async def test_a_load_that_waits_for_memory_ends_when_the_server_stops(settings: Settings) -> None:
    sleep = Sleep()
    async with busy(settings, sleep=sleep) as (server, _):
        asking = asyncio.create_task(ask(server, "a"))
        await until(lambda: sleep.times > 0)
        closing = asyncio.create_task(server.registry.close())
        with pytest.raises(Unavailable, match="The server is stopping"):
            await asking
        assert len(server.runtime.engines()) == 2  # not only because there was room in the end
        server.runtime.release()
        await closing
