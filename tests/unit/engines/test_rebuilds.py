"""Engines whose plans are built from models, when the server stops, starts again, or is upgraded."""

import asyncio

import pytest

from tests.unit.builds import MODEL, OTHER, FakeBuild, building_runtime, held, serving_builds
from tests.unit.loads import state
from tests.unit.serving import loaded
from tests.waiting import until
from trtserve.engines import readiness
from trtserve.engines.engine import State
from trtserve.errors import ExecutionFailed, Unavailable
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


# -- stops and restarts


async def test_a_stop_ends_builds_and_a_restart_builds_what_was_accepted(settings: Settings) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        accepted = (await server.accept_model(MODEL, "net"))[0].engine.id
        await until(lambda: build.running == 1)
        adding = asyncio.create_task(server.add_model(OTHER, "other"))
        await until(lambda: server.registry.builds.waiting == 1)
    assert build.running == 0
    with pytest.raises(Unavailable, match="stopping"):
        await adding
    async with serving_builds(settings) as server:
        await until(lambda: state(server, accepted) is State.READY)
        assert [engine.id for engine in server.registry.engines()] == [accepted]
        assert server.registry.ready("net").version == 1
        assert server.store.engines()[0].build.name is None  # type: ignore[union-attr]  # it is built


async def test_a_first_build_after_a_restart_does_not_keep_the_server_from_being_ready(
    settings: Settings,
) -> None:
    async with serving_builds(settings, build=held()) as server:
        await server.accept_model(MODEL)
        await until(lambda: server.build.running == 1)
    async with serving_builds(settings, build=held()) as server:
        await until(lambda: server.build.running == 1)
        troubles = readiness.check_server(server.runtime, server.registry)  # type: ignore[arg-type]
        assert troubles == readiness.Troubles(degraded=[], stuck=[])


async def test_a_restart_with_the_same_library_and_gpu_builds_nothing(settings: Settings) -> None:
    async with serving_builds(settings) as server:
        built = (await server.add_model(MODEL, "net"))[0].engine.stored
    async with serving_builds(settings) as server:
        await loaded(server)
        assert server.build.jobs == []
        assert server.registry.ready("net").engine.stored == built


# -- upgrades


async def test_after_an_upgrade_the_engine_is_built_again_and_says_why(settings: Settings) -> None:
    async with serving_builds(settings) as server:
        before = (await server.add_model(MODEL, "net"))[0].engine.stored
    build = held()
    runtime = building_runtime("11.2.0")
    async with serving_builds(settings, runtime, build) as server:
        await until(lambda: build.running == 1)
        engine = server.registry.resolve("net").engine
        assert engine.state is State.BUILDING
        assert engine.progress is not None
        assert engine.progress.reason == (
            "It was built for TensorRT 11.1.0, and this server has TensorRT 11.2.0."
        )
        with pytest.raises(Unavailable, match=r"1 to go\. .*is being built"):
            readiness.check_server(runtime, server.registry)  # type: ignore[arg-type]
        assert server.store.plan_path(before).is_file()
        build.gate.set()
        await loaded(server)
        ready = server.registry.ready("net")
        assert (ready.engine.id, ready.version) == (before.id, 1)
        assert ready.engine.progress is not None
        assert ready.engine.progress.reason is not None
        assert not server.store.plan_path(before).exists()
        assert len(list((settings.store / "built").iterdir())) == 2


async def test_an_upgrade_that_cannot_build_keeps_the_old_plan_and_fails_with_the_reason(
    settings: Settings,
) -> None:
    async with serving_builds(settings) as server:
        before = (await server.add_model(MODEL, "net"))[0].engine.stored
    build = FakeBuild()
    build.failure = ExecutionFailed("No tactic was found.")
    async with serving_builds(settings, building_runtime("11.2.0"), build) as server:
        await loaded(server)
        assert server.registry.resolve("net").engine.state is State.FAILED
        assert server.registry.resolve("net").engine.reason == "No tactic was found."
        server.store.check_plan(before)
    async with serving_builds(settings) as server:  # the old version again
        await loaded(server)
        assert server.registry.ready("net").engine.id == before.id
        assert server.build.jobs == []


async def test_a_server_that_cannot_build_loads_the_plan_that_there_is(settings: Settings) -> None:
    async with serving_builds(settings) as server:
        await server.add_model(MODEL, "net")
    runtime = building_runtime("11.2.0")
    runtime.builders = set()
    async with serving_builds(settings, runtime) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.state is State.READY


async def test_an_explicit_load_builds_again_after_an_upgrade(settings: Settings) -> None:
    async with serving_builds(settings) as server:
        engine = (await server.add_model(MODEL, "net"))[0].engine
        await server.registry.unload("net")
    async with serving_builds(settings, building_runtime("11.2.0")) as server:
        assert state(server, engine.id) is State.UNLOADED
        await server.registry.load("net")
        build = server.registry.ready("net").engine.stored.build
        assert build is not None
        assert build.target == "TensorRT 11.2.0"
        assert len(server.build.jobs) == 1


async def test_a_damaged_plan_is_built_again_at_a_start(settings: Settings) -> None:
    async with serving_builds(settings) as server:
        stored = (await server.add_model(MODEL, "net"))[0].engine.stored
        plan = server.store.plan_path(stored)
    plan.write_bytes(b"damaged")
    async with serving_builds(settings) as server:
        await loaded(server)
        engine = server.registry.ready("net").engine
        assert engine.progress is not None
        assert engine.progress.reason == "Its plan in the store was missing or damaged."


async def test_an_upload_repairs_a_damaged_model_and_a_damaged_plan(settings: Settings) -> None:
    async with serving_builds(settings) as server:
        engine = (await server.add_model(MODEL, "net"))[0].engine
        server.store.source_path(engine.stored).write_bytes(b"damaged")
        await server.add_model(MODEL)
        server.store.check_source(engine.stored)
        assert len(server.build.jobs) == 1
        server.store.plan_path(engine.stored).write_bytes(b"damaged")
        await server.add_model(MODEL)
        repaired = server.registry.ready("net").engine
        server.store.check_plan(repaired.stored)
        assert len(server.build.jobs) == 2


async def test_a_damaged_model_is_not_built(settings: Settings) -> None:
    async with serving_builds(settings) as server:
        stored = (await server.add_model(MODEL, "net"))[0].engine.stored
        server.store.source_path(stored).write_bytes(b"damaged")
    async with serving_builds(settings, building_runtime("11.2.0")) as server:
        await loaded(server)
        reason = server.registry.resolve("net").engine.reason
        assert reason is not None
        assert "Its model in the store" in reason
        assert "Upload the model again" in reason
