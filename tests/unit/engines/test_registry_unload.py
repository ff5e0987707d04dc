"""Engines that are stored but not resident: unloading and loading again."""

import asyncio

import pytest

from runtime_ext import Error
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.serving import loaded, serving, until_loading
from tests.waiting import until
from trtserve.engines.engine import State
from trtserve.errors import InvalidInput, NotFound, TrtserveError, Unavailable
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


async def test_an_unloaded_engine_is_stored_but_not_resident(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        await server.registry.unload("net")
        assert server.runtime.unloads == [(engine.id, settings.drain_s)]
        kept, name, version = server.registry.resolve("net")
        assert (kept.id, name, version) == (engine.id, "net", 1)
        assert (kept.state, kept.info, kept.load_seconds) == (State.UNLOADED, None, None)
        assert len(server.files()) == 1
        with pytest.raises(
            Unavailable, match=r"\(net\) is unloaded: load it with POST /v2/repository/models/net/load\.$"
        ):
            server.registry.ready("net")


async def test_all_versions_of_a_name_are_unloaded_and_loaded_again(settings: Settings) -> None:
    async with serving(settings) as server:
        added = [(await server.add(onnx_plan(seed), "net"))[0].engine.id for seed in range(3)]
        other = (await server.add(onnx_plan(9), "other"))[0].engine
        await server.registry.point("net", 2)
        await server.registry.unload("net")
        assert sorted(id for id, _ in server.runtime.unloads) == sorted(added)
        assert server.registry.ready("other").engine is other
        await server.registry.load("net")
        assert [id for id, *_ in server.runtime.loads[4:]] == [added[1], added[2], added[0]]
        assert server.registry.ready("net").version == 2
        assert [server.registry.ready("net", str(version)).version for version in (1, 2, 3)] == [1, 2, 3]


async def test_an_unnamed_engine_is_unloaded_and_loaded_by_its_id(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), instances=3)
        ref = str(engine.id)
        await server.registry.unload(ref)
        with pytest.raises(Unavailable, match=f"POST /v2/repository/models/{ref}/load"):
            server.registry.ready(ref)
        await server.registry.load(ref)
        assert server.registry.ready(ref).engine.stored == engine.stored
        assert server.runtime.loads[1][3].instances == 3


async def test_two_names_can_share_one_engine(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "a")
        await server.add(onnx_plan(), "b")
        await server.registry.unload("a")
        with pytest.raises(Unavailable, match="is unloaded"):
            server.registry.ready("b")
        await server.registry.load("b")
        assert server.registry.ready("a")


async def test_unloading_an_unloaded_engine_or_loading_a_ready_one_does_nothing(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        await server.registry.load("net")
        assert server.registry.ready("net").engine is engine
        await server.registry.unload("net")
        unloaded = server.registry.resolve("net").engine
        await server.registry.unload("net")
        assert server.registry.resolve("net").engine is unloaded
        assert len(server.runtime.loads) == len(server.runtime.unloads) == 1


@pytest.mark.parametrize("operation", ["load", "unload"])
async def test_an_unknown_engine_can_be_neither_loaded_nor_unloaded(
    settings: Settings, operation: str
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        with pytest.raises(NotFound, match=r"no engine 'nat'\. There is: net\."):
            await getattr(server.registry, operation)("nat")


async def test_a_draining_engine_refuses_new_requests(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        server.runtime.unload_gate.clear()
        unloading = asyncio.create_task(server.registry.unload("net"))
        await until(lambda: server.runtime.unloading == [engine.id])
        assert engine.state is State.DRAINING
        with pytest.raises(Unavailable, match="is being removed or unloaded"):
            server.registry.ready("net")
        server.runtime.unload_gate.set()
        await unloading


async def test_a_cancelled_caller_does_not_stop_the_unload(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        server.runtime.unload_gate.clear()
        unloading = asyncio.create_task(server.registry.unload("net"))
        await until(lambda: server.runtime.unloading == [engine.id])
        unloading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await unloading
        server.runtime.unload_gate.set()
        await until(lambda: server.registry.resolve("net").engine.state is State.UNLOADED)


async def test_an_unload_that_cannot_be_stored_leaves_the_engine_loaded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "net")

        def full(_: int) -> None:
            raise Unavailable("The disk is full.")

        monkeypatch.setattr(server.store, "unload", full)
        with pytest.raises(Unavailable, match="full"):
            await server.registry.unload("net")
        assert server.registry.ready("net").engine is engine
        assert server.runtime.unloads == []


# -- across a restart


async def test_an_unloaded_engine_stays_unloaded_across_a_restart(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(1), "net")
        await server.add(onnx_plan(2), "other")
        await server.registry.unload("net")
    for _ in range(2):
        async with serving(settings) as server:
            assert server.registry.loading == 1
            await loaded(server)
            assert server.registry.resolve("net").engine.state is State.UNLOADED
            assert len(server.runtime.loads) == 1
    async with serving(settings) as server:
        await server.registry.load("net")
        assert server.registry.ready("net")
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("net")


async def test_a_failed_engine_can_be_loaded_once_the_cause_is_gone(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net", instances=3)
    runtime = FakeRuntime()
    runtime.load_error = error("Unavailable", "The driver is gone.")
    async with serving(settings, runtime) as server:
        await loaded(server)
        assert server.registry.resolve("net").engine.state is State.FAILED
        runtime.load_error = None
        await server.registry.load("net")
        assert server.registry.ready("net").engine.stored.options.instances == 3


async def test_an_unloaded_failed_engine_is_not_loaded_at_the_next_start(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
    runtime = FakeRuntime()
    runtime.load_error = error("Unavailable", "The driver is gone.")
    async with serving(settings, runtime) as server:
        await loaded(server)
        await server.registry.unload("net")
        assert server.registry.resolve("net").engine.state is State.UNLOADED
        assert runtime.unloads == []
    async with serving(settings) as server:
        assert server.registry.loading == 0


# -- loading


async def test_one_failure_does_not_stop_the_other_loads(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        await server.registry.unload("net")
        server.store.plan_path(second.stored).unlink()
        with pytest.raises(Unavailable, match=rf"^Engine {second.id} \(net\) could not be loaded: Its plan"):
            await server.registry.load("net")
        assert server.registry.resolve("net").engine.state is State.FAILED
        assert server.registry.ready("net", "1").engine.id == first.id
    async with serving(settings) as server:  # the engine that failed to load is not retried
        await loaded(server)
        assert server.registry.resolve("net").engine.state is State.UNLOADED
        assert server.registry.ready("net", "1")


async def test_a_load_that_cannot_be_stored_is_undone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        await server.registry.unload("net")

        def full(*_: object) -> None:
            raise Unavailable("The disk is full.")

        with monkeypatch.context() as broken:
            broken.setattr(server.store, "commit", full)
            with pytest.raises(Unavailable, match="full"):
                await server.registry.load("net")
        assert server.runtime.engines() == []
        await server.registry.load("net")
        assert server.registry.ready("net")


async def test_a_load_can_change_the_options_of_an_engine_that_is_not_ready(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net", instances=2, max_queue_size=7)
        await server.registry.load("net", EngineOptions(instances=2))
        await server.registry.unload("net")
        await server.registry.load("net", EngineOptions(instances=4))
        stored = server.registry.ready("net").engine.stored
        assert (stored.options.instances, stored.options.max_queue_size) == (4, 7)
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.stored == stored


async def test_a_failed_load_discards_its_options(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net", instances=2)
        await server.registry.unload("net")
        server.runtime.load_error = error("InvalidInput", "That many instances do not fit.")
        with pytest.raises(TrtserveError, match="do not fit") as refused:
            await server.registry.load("net", EngineOptions(instances=200))
        assert refused.value.kind == "InvalidInput"
        with pytest.raises(InvalidInput, match="preferred batch size 8 is over"):
            await server.registry.load("net", EngineOptions(preferred_batch_sizes="8", max_batch_size=1))
        server.runtime.load_error = None
        await server.registry.load("net")
        assert server.registry.ready("net").engine.stored.options.instances == 2


async def test_an_upload_loads_an_unloaded_plan_with_its_own_options(
    settings: Settings,
) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net", instances=2)
        await server.registry.unload("net")
        server.runtime.load_error = error("ExecutionFailed", "Out of memory.")
        with pytest.raises(Error, match="Out of memory"):
            await server.add(onnx_plan(), "net")
        assert server.registry.resolve("net").engine.state is State.UNLOADED
        server.runtime.load_error = None
        (_, name, version), created = await server.add(onnx_plan(), "net", instances=4)
        assert (name, version, created) == ("net", 1, False)
        assert server.registry.ready("net").engine.stored.options.instances == 4
        assert len(server.files()) == 1
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("net")


async def test_an_unloaded_engine_can_be_removed(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        await server.registry.unload("net")
        await server.registry.remove("net")
        assert server.registry.engines() == []
        assert server.files() == []
        assert len(server.runtime.unloads) == 1


# -- concurrent operations


async def test_an_upload_during_the_unload_of_its_plan_loads_it_again(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        server.runtime.unload_gate.clear()
        unloading = asyncio.create_task(server.registry.unload("net"))
        await until(lambda: server.runtime.unloading == [engine.id])
        adding = asyncio.create_task(server.add(onnx_plan(), "net"))
        await asyncio.sleep(0)
        server.runtime.unload_gate.set()
        await unloading
        _, created = await adding
        assert not created
        assert server.registry.ready("net").engine.id == engine.id


async def test_an_unload_during_the_upload_of_its_plan_runs_after_it(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        await server.registry.unload("net")
        server.runtime.load_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan(), "net"))
        await until_loading(server, loads=2)
        unloading = asyncio.create_task(server.registry.unload("net"))
        await asyncio.sleep(0)
        assert server.registry.resolve("net").engine.state is State.LOADING
        server.runtime.load_gate.set()
        (added, *_), _ = await adding
        await unloading
        assert (added.id, added.state) == (engine.id, State.DRAINING)
        assert server.registry.resolve("net").engine.state is State.UNLOADED
        assert server.runtime.engines() == []


async def test_a_removal_during_an_unload_removes_the_unloaded_engine(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        server.runtime.unload_gate.clear()
        unloading = asyncio.create_task(server.registry.unload("net"))
        await until(lambda: server.runtime.unloading == [engine.id])
        removing = asyncio.create_task(server.registry.remove("net"))
        await asyncio.sleep(0)
        server.runtime.unload_gate.set()
        await asyncio.gather(unloading, removing)
        assert server.registry.engines() == []
        assert server.files() == []
        assert len(server.runtime.unloads) == 1


@pytest.mark.parametrize("operation", ["load", "unload"])
async def test_a_load_or_unload_during_a_removal_finds_no_engine(settings: Settings, operation: str) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), "net")
        server.runtime.unload_gate.clear()
        removing = asyncio.create_task(server.registry.remove(str(engine.id)))
        await until(lambda: server.runtime.unloading == [engine.id])
        other = asyncio.create_task(getattr(server.registry, operation)(str(engine.id)))
        await asyncio.sleep(0)
        server.runtime.unload_gate.set()
        await asyncio.gather(removing, other)
        assert server.registry.engines() == []
        assert len(server.runtime.unloads) == len(server.runtime.loads) == 1


async def test_an_unload_skips_an_engine_that_has_left_the_name(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "a")
        await server.registry.unload("a")
        server.runtime.load_gate.clear()
        adding = asyncio.create_task(server.add(onnx_plan(), "b"))
        await until_loading(server, loads=2)
        removing = asyncio.create_task(server.registry.remove("a"))
        await asyncio.sleep(0)
        unloading = asyncio.create_task(server.registry.unload("a"))
        await asyncio.sleep(0)
        server.runtime.load_gate.set()
        await asyncio.gather(adding, removing, unloading)
        assert server.registry.ready("b")
        assert server.runtime.unloads[1:] == []


async def test_concurrent_unloads_unload_once(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        await asyncio.gather(*(server.registry.unload("net") for _ in range(3)))
        assert len(server.runtime.unloads) == 1
        await asyncio.gather(*(server.registry.load("net") for _ in range(3)))
        assert len(server.runtime.loads) == 2


async def test_closing_waits_for_an_unload_and_refuses_new_ones(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(1), "net")
        await server.add(onnx_plan(2), "other")
        server.runtime.unload_gate.clear()
        unloading = asyncio.create_task(server.registry.unload("net"))
        await until(lambda: server.runtime.unloading == [engine.id])
        closing = asyncio.create_task(server.registry.close())
        await asyncio.sleep(0)
        for refused in (
            server.registry.unload("other"),
            server.registry.load("other"),
            server.registry.point("other", 1),
        ):
            with pytest.raises(Unavailable, match="The server is stopping"):
                await refused
        server.runtime.unload_gate.set()
        await asyncio.gather(unloading, closing)
        assert server.runtime.engines() == []
        assert server.store.unloaded() == {engine.id}
