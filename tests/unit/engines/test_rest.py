"""A registry whose store rests, because a successor uses it: engines answer and move, nothing is written."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.unit.engines.on_demand import ask, budget, serving, state, three
from tests.unit.serving import until_loading
from tests.waiting import until
from trtserve.engines.engine import State
from trtserve.errors import Unavailable
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A budget that holds two engines."""
    return Settings(store=tmp_path / "store", drain_s=1.0, memory_budget=budget(2.5))


def written(settings: Settings) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in settings.store.rglob("*") if path.is_file()}


async def test_a_request_still_loads_an_engine_that_was_evicted(settings: Settings) -> None:
    async with serving(settings) as server:
        await three(server)
        assert state(server, "a") is State.DORMANT
        await server.registry.rest(1.0)
        before = written(settings)
        assert (await ask(server, "a")).engine.state is State.READY
        assert written(settings) == before


async def test_changes_are_refused_and_undone_until_the_store_is_used_again(settings: Settings) -> None:
    async with serving(settings) as server:
        staged = server.stage(onnx_plan(1))
        (resolved, _) = await server.add(onnx_plan(0), "a")
        await server.registry.rest(1.0)
        registry = server.registry
        for change in (
            registry.add(staged, **server.asked(onnx_plan(1), "b")),
            registry.remove("a"),
            registry.unload("a"),
            registry.point("a", 1),
        ):
            with pytest.raises(Unavailable, match="being replaced by a new process"):
                await change
        assert [engine.id for engine in registry.engines()] == [resolved.engine.id]
        assert state(server, "a") is State.READY
        await registry.resume()
        await server.add(onnx_plan(2), "c")
        assert set(server.store.names()) == {"a", "c"}


async def test_an_upload_that_is_under_way_ends_first(settings: Settings) -> None:
    async with serving(settings) as server:
        server.runtime.load_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan(0), "a"))
        await until_loading(server)
        resting = asyncio.create_task(server.registry.rest(60.0))
        await asyncio.sleep(0)
        server.runtime.load_gate.set()
        await resting
        assert (await adding)[1]
        await server.registry.resume()
        assert set(server.store.names()) == {"a"}


async def test_an_upload_that_takes_too_long_is_refused_and_leaves_nothing(settings: Settings) -> None:
    async with serving(settings) as server:
        server.runtime.load_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan(0), "a"))
        await until_loading(server)
        await server.registry.rest(0.0)
        server.runtime.load_gate.set()
        with pytest.raises(Unavailable, match="being replaced by a new process"):
            await adding
        assert server.registry.engines() == []
        await server.registry.resume()
        assert server.store.names() == {}


async def test_a_successor_waits_for_the_engines_that_were_served_before(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a")
    async with serving(settings) as server:
        server.runtime.load_gate.clear()
        loaded = asyncio.create_task(server.registry.loaded())
        await until(lambda: state(server, "a") is State.LOADING)
        assert not loaded.done()
        server.runtime.load_gate.set()
        await loaded
        assert state(server, "a") is State.READY
