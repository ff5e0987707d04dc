"""Engines whose upload is answered before their plan is built."""

import asyncio

import pytest

from tests.unit.builds import MODEL, FakeBuild, building_runtime, held, only_id, serving_builds
from tests.unit.loads import state
from tests.unit.serving import loaded
from tests.waiting import until
from trtserve.engines.engine import State
from trtserve.errors import InvalidInput, Unavailable, Unsupported
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


async def test_an_accepted_build_answers_at_once_and_has_its_name_when_it_is_ready(
    settings: Settings,
) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        resolved, created = await server.accept_model(MODEL, "net")
        assert created is None
        assert resolved.engine.state is State.BUILDING
        assert server.registry.names_of(str(resolved.engine.id)) == ["net"], "it is to have it"
        await until(lambda: build.running == 1)
        again, created = await server.accept_model(MODEL, "net")
        assert (again.engine, created) == (resolved.engine, None)
        assert list((settings.store / "incoming").iterdir()) == [build.jobs[0].plan]
        build.gate.set()
        await until(lambda: state(server, resolved.engine.id) is State.READY)
        assert server.registry.ready("net").version == 1
        ready, created = await server.accept_model(MODEL, "net")
        assert (ready.engine.state, created) == (State.READY, False)
        assert len(build.jobs) == 1


async def test_another_name_for_an_engine_that_is_being_built_waits_for_it(settings: Settings) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        await server.accept_model(MODEL, "net")
        await until(lambda: build.running == 1)
        other = asyncio.create_task(server.accept_model(MODEL, "other"))
        build.gate.set()
        resolved, created = await other
        assert (resolved.name, created) == ("other", False)
        assert server.registry.ready("net").engine is server.registry.ready("other").engine


async def test_an_accepted_build_that_fails_leaves_an_engine_that_says_why(settings: Settings) -> None:
    build = FakeBuild()
    build.failure = InvalidInput("Node 3 is wrong.")
    async with serving_builds(settings, build=build) as server:
        engine = (await server.accept_model(MODEL, "net"))[0].engine
        await until(lambda: state(server, engine.id) is State.FAILED)
        failed = server.registry.resolve(str(engine.id)).engine
        assert failed.reason == "Node 3 is wrong."
        assert failed.progress is not None
        assert failed.progress.phase == "failed"
    async with serving_builds(settings) as server:
        await loaded(server)
        await until(lambda: state(server, engine.id) is State.FAILED)
        assert server.registry.resolve(str(engine.id)).engine.reason == "Node 3 is wrong."
        assert server.build.jobs == []
        resolved, _ = await server.add_model(MODEL, "net")
        assert (resolved.engine.id, resolved.engine.state) == (engine.id, State.READY)
    async with serving_builds(settings) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.id == engine.id


async def test_a_failed_build_is_tried_again_after_an_upgrade(settings: Settings) -> None:
    build = FakeBuild()
    build.failure = Unsupported("The operator Foo is not known.")
    async with serving_builds(settings, build=build) as server:
        engine = (await server.accept_model(MODEL, "net"))[0].engine
        await until(lambda: state(server, engine.id) is State.FAILED)
    async with serving_builds(settings, building_runtime("11.2.0")) as server:
        await until(lambda: state(server, engine.id) is State.READY)
        assert server.registry.ready("net").engine.id == engine.id


async def test_a_build_that_lacked_memory_fails_and_a_restart_tries_it_again(settings: Settings) -> None:
    build = FakeBuild()
    build.failure = Unavailable("It was killed.", retry_after=5.0)
    async with serving_builds(settings, build=build) as server:
        engine = (await server.accept_model(MODEL))[0].engine
        await until(lambda: state(server, engine.id) is State.FAILED)
        assert len(build.jobs) == 1
    async with serving_builds(settings) as server:
        await until(lambda: state(server, engine.id) is State.READY)


async def test_an_accepted_build_goes_on_when_its_client_leaves(settings: Settings) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        accepting = asyncio.create_task(server.accept_model(MODEL))
        await until(lambda: build.running == 1)
        accepting.cancel()
        await asyncio.wait((accepting,))
        build.gate.set()
        await until(lambda: state(server, only_id(server)) is State.READY)
