"""Engines that are kept but not resident: unloaded, and loaded again."""

import asyncio

import pytest

from runtime_ext import Error
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.serving import loaded, serving, until_loading
from tests.waiting import until
from trtserve.engines.engine import State
from trtserve.errors import Conflict, InvalidInput, NotFound, TrtserveError, Unavailable
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


async def test_an_unloaded_engine_is_kept_but_not_resident(settings: Settings) -> None:
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


async def test_an_engine_without_a_name_is_unloaded_and_loaded_by_its_id(settings: Settings) -> None:
    async with serving(settings) as server:
        (engine, *_), _ = await server.add(onnx_plan(), instances=3)
        ref = str(engine.id)
        await server.registry.unload(ref)
        with pytest.raises(Unavailable, match=f"POST /v2/repository/models/{ref}/load"):
            server.registry.ready(ref)
        await server.registry.load(ref)
        assert server.registry.ready(ref).engine.stored == engine.stored
        assert server.runtime.loads[1][3].instances == 3


async def test_an_engine_that_two_names_share_is_one_engine(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "a")
        await server.add(onnx_plan(), "b")
        await server.registry.unload("a")
        with pytest.raises(Unavailable, match="is unloaded"):
            server.registry.ready("b")
        await server.registry.load("b")
        assert server.registry.ready("a")


async def test_unloading_what_is_unloaded_and_loading_what_is_ready_do_nothing(settings: Settings) -> None:
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
async def test_what_there_is_not_is_neither_loaded_nor_unloaded(settings: Settings, operation: str) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        with pytest.raises(NotFound, match=r"no engine 'nat'\. There is: net\."):
            await getattr(server.registry, operation)("nat")


async def test_while_it_drains_new_requests_are_refused(settings: Settings) -> None:
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


async def test_a_caller_who_leaves_does_not_stop_the_unload(settings: Settings) -> None:
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


async def test_an_unload_that_cannot_be_kept_leaves_the_engine_as_it_was(
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


# -- over a restart


async def test_an_unloaded_engine_stays_unloaded_over_a_restart(settings: Settings) -> None:
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


async def test_a_failed_engine_is_loaded_again_once_what_it_lacked_is_there(settings: Settings) -> None:
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


async def test_a_failed_engine_may_be_unloaded_so_that_no_start_tries_it(settings: Settings) -> None:
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


# -- loading, and what becomes of it


async def test_one_failure_does_not_keep_the_others_from_being_loaded(settings: Settings) -> None:
    async with serving(settings) as server:
        (first, *_), _ = await server.add(onnx_plan(1), "net")
        (second, *_), _ = await server.add(onnx_plan(2), "net")
        await server.registry.unload("net")
        server.store.plan_path(second.stored).unlink()
        with pytest.raises(Unavailable, match=rf"^Engine {second.id} \(net\) could not be loaded: Its plan"):
            await server.registry.load("net")
        assert server.registry.resolve("net").engine.state is State.FAILED
        assert server.registry.ready("net", "1").engine.id == first.id
    async with serving(settings) as server:  # what was not loaded is not tried again by itself
        await loaded(server)
        assert server.registry.resolve("net").engine.state is State.UNLOADED
        assert server.registry.ready("net", "1")


async def test_a_load_that_cannot_be_kept_is_undone(
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


async def test_a_load_may_change_the_options_of_what_is_not_ready(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net", instances=2, max_queue_size=7)
        with pytest.raises(Conflict, match=r"resident with instances=2, not 4\. .* unload it first"):
            await server.registry.load("net", EngineOptions(instances=4))
        await server.registry.load("net", EngineOptions(instances=2))
        await server.registry.unload("net")
        await server.registry.load("net", EngineOptions(instances=4))
        stored = server.registry.ready("net").engine.stored
        assert (stored.options.instances, stored.options.max_queue_size) == (4, 7)
    async with serving(settings) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.stored == stored


async def test_options_of_a_load_that_fails_are_forgotten(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net", instances=2)
        await server.registry.unload("net")
        server.runtime.load_error = error("InvalidInput", "That many instances do not fit.")
        with pytest.raises(TrtserveError, match="do not fit") as refused:
            await server.registry.load("net", EngineOptions(instances=200))
        assert refused.value.kind == "InvalidInput"
        with pytest.raises(InvalidInput, match="preferred batch size 8 is over"):
            await server.registry.load("net", EngineOptions(preferred_batch_sizes="8"))
        server.runtime.load_error = None
        await server.registry.load("net")
        assert server.registry.ready("net").engine.stored.options.instances == 2


async def test_an_upload_of_an_unloaded_plan_loads_it_with_the_options_of_the_upload(
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


async def test_an_unloaded_engine_is_removed_like_any_other(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        await server.registry.unload("net")
        await server.registry.remove("net")
        assert server.registry.engines() == []
        assert server.files() == []
        assert len(server.runtime.unloads) == 1


# -- what comes at the same time


async def test_an_upload_that_meets_the_unload_of_its_plan_loads_it_again(settings: Settings) -> None:
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


async def test_an_unload_that_meets_the_upload_of_its_plan_comes_after_it(settings: Settings) -> None:
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


async def test_a_removal_that_meets_an_unload_removes_what_was_unloaded(settings: Settings) -> None:
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
async def test_what_meets_a_removal_finds_nothing_to_do(settings: Settings, operation: str) -> None:
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


async def test_an_unload_leaves_alone_what_the_name_has_lost_meanwhile(settings: Settings) -> None:
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


async def test_unloading_twice_at_the_same_time_unloads_once(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(), "net")
        await asyncio.gather(*(server.registry.unload("net") for _ in range(3)))
        assert len(server.runtime.unloads) == 1
        await asyncio.gather(*(server.registry.load("net") for _ in range(3)))
        assert len(server.runtime.loads) == 2


async def test_closing_waits_for_an_unload_and_refuses_the_next(settings: Settings) -> None:
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
