"""Engines whose plans are built from models: builds, failures, cancellation, restarts and upgrades.

One file for the whole life of such an engine: its steps share the fake builder at the top.
"""

import asyncio
import hashlib
from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import error
from tests.unit.builds import TARGET, BuildingServer, FakeBuild, building_runtime, serving_builds
from tests.unit.loads import Trial, state
from tests.unit.serving import loaded
from tests.waiting import until
from trtserve.engines import readiness
from trtserve.engines.engine import State
from trtserve.errors import (
    Conflict,
    ExecutionFailed,
    InvalidInput,
    NotFound,
    Unavailable,
    Unsupported,
)
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

MODEL, OTHER = onnx_plan(1), onnx_plan(2)


def held() -> FakeBuild:
    """A build that waits until its gate is opened."""
    build = FakeBuild()
    build.gate.clear()
    return build


def only_id(server: BuildingServer) -> int:
    (engine,) = server.registry.engines()
    return engine.id


# -- one build


async def test_a_model_is_built_and_served_under_an_identity_of_its_own(settings: Settings) -> None:
    trial = Trial()
    async with serving_builds(settings, trial=trial) as server:
        resolved, created = await server.add_model(MODEL, "net", precision="f16")
        engine = resolved.engine
        assert (created, engine.state, resolved.version) == (True, State.READY, 1)
        assert (engine.format, engine.backend) == ("tensorrt", "tensorrt")
        assert engine.stored.build is not None
        assert engine.stored.build.source == hashlib.sha256(MODEL).hexdigest()
        assert engine.stored.build.target == TARGET
        assert engine.digest == engine.stored.build.digest != engine.stored.build.plan
        assert trial.tried == [engine.id]
        (job,) = server.build.jobs
        assert job.backend == "tensorrt11"
        assert job.model.read_bytes() == MODEL
        assert job.options["precision"] == "f16"
        assert job.options["timing_cache"].endswith("timing/tensorrt11-device.cache")
        (load,) = server.runtime.loads
        assert load[1] == str(server.store.plan_path(engine.stored))
        server.store.check_plan(engine.stored)


async def test_the_same_model_and_options_find_the_engine_and_build_nothing(settings: Settings) -> None:
    async with serving_builds(settings) as server:
        first, _ = await server.add_model(MODEL, "net", profiles=("x:1/2/3",))
        again, created = await server.add_model(MODEL, "other", profiles=("x:1/2/3",))
        assert (again.engine is first.engine, created) == (True, False)
        assert again.name == "other"
        different, created = await server.add_model(MODEL, "net", profiles=("x:1/2/4",))
        assert (created, different.version) == (True, 2)
        assert len(server.build.jobs) == 2


async def test_the_identity_is_the_same_on_every_server(settings: Settings, tmp_path: Path) -> None:
    ids = []
    for number in range(2):
        own = settings.model_copy(update={"store": tmp_path / f"store{number}"})
        async with serving_builds(own, building_runtime(f"11.{number}.0")) as server:
            ids.append((await server.add_model(MODEL))[0].engine.id)
    assert ids[0] == ids[1]


async def test_a_build_is_shown_while_it_runs(settings: Settings) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        adding = asyncio.create_task(server.add_model(MODEL, "net"))
        await until(lambda: build.running == 1)
        (engine,) = server.registry.engines()
        assert engine.state is State.BUILDING
        assert engine.progress is not None
        assert (engine.progress.percent, engine.progress.phase) == (25.0, "tuning")
        assert engine.progress.log == "Tactic 7 of 9"
        with pytest.raises(Unavailable, match=r"is being built \(tuning, 25 %\)"):
            server.registry.ready(str(engine.id))
        with pytest.raises(NotFound):
            server.registry.resolve("net")
        build.gate.set()
        resolved, _ = await adding
        assert server.registry.ready("net").engine is resolved.engine
        assert resolved.engine.progress is not None
        assert resolved.engine.progress.phase == "done"


async def test_a_build_that_fails_is_the_uploads_error_and_leaves_nothing(settings: Settings) -> None:
    build = FakeBuild()
    build.failure = Unsupported("The operator Foo of node foo_3 is not known.")
    async with serving_builds(settings, build=build) as server:
        with pytest.raises(Unsupported, match="node foo_3"):
            await server.add_model(MODEL, "net")
        assert server.registry.engines() == []
        assert server.all_files() == []
        assert server.registry.builds.outcomes["failed"] == 1
        build.failure = None
        assert (await server.add_model(MODEL, "net"))[1]


async def test_a_plan_that_cannot_be_loaded_after_its_build_leaves_nothing(settings: Settings) -> None:
    runtime = building_runtime()
    runtime.load_error = error("InvalidInput", "bad plan")
    async with serving_builds(settings, runtime) as server:
        with pytest.raises(Exception, match="bad plan"):
            await server.add_model(MODEL)
        assert server.registry.engines() == []
        assert server.all_files() == []


async def test_without_a_builder_an_upload_is_refused(settings: Settings) -> None:
    runtime = building_runtime()
    runtime.builders = set()
    async with serving_builds(settings, runtime) as server:
        with pytest.raises(Unsupported, match="cannot build plans"):
            await server.add_model(MODEL)
        assert server.all_files() == []


async def test_a_gpu_that_is_not_there_is_the_uploads_fault(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build_target(*_: object) -> str:
        raise AssertionError("Invalid device id")

    monkeypatch.setattr("trtserve.engines.building.build_target", build_target)
    async with serving_builds(settings) as server:
        with pytest.raises(InvalidInput, match="no such GPU"):
            await server.add_model(MODEL)
        assert (server.registry.engines(), server.all_files()) == ([], [])


# -- turns


async def test_one_plan_is_built_on_a_device_at_a_time_and_others_wait(settings: Settings) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        adding = [asyncio.create_task(server.add_model(onnx_plan(n))) for n in range(3)]
        await until(lambda: server.registry.builds.waiting == 2)
        assert len(build.jobs) == 1
        phases = [engine.progress.phase for engine in server.registry.engines() if engine.progress]
        assert phases.count("waiting for the device") == 2
        build.gate.set()
        await asyncio.gather(*adding)
        assert (len(build.jobs), build.most, server.registry.builds.waiting) == (3, 1, 0)


async def test_more_builds_than_may_wait_are_refused(settings: Settings) -> None:
    build = held()
    few = settings.model_copy(update={"max_waiting_builds": 1})
    async with serving_builds(few, build=build) as server:
        adding = [asyncio.create_task(server.add_model(onnx_plan(n))) for n in range(2)]
        await until(lambda: server.registry.builds.waiting == 1)
        with pytest.raises(Unavailable, match="--max-waiting-builds") as refused:
            await server.add_model(onnx_plan(3))
        assert refused.value.retry_after is not None
        assert await server.registry.add(server.stage(onnx_plan(4)), **server.asked(onnx_plan(4)))
        build.gate.set()
        await asyncio.gather(*adding)


# -- removed and unloaded while it is built


@pytest.mark.parametrize("accepted", [False, True])
async def test_a_removal_ends_the_build_at_once_and_leaves_nothing(
    settings: Settings, accepted: bool
) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        add = server.accept_model if accepted else server.add_model
        adding = asyncio.create_task(add(MODEL, "net"))
        await until(lambda: build.running == 1)
        await server.registry.remove(str(only_id(server)))
        assert build.running == 0
        assert server.registry.engines() == []
        assert server.all_files() == []
        assert server.registry.builds.outcomes["cancelled"] == 1
        if not accepted:
            with pytest.raises(Conflict, match="removed or unloaded"):
                await adding
        assert await asyncio.gather(adding, return_exceptions=True)
    async with serving_builds(settings) as server:
        assert server.registry.engines() == []


async def test_a_removal_of_a_waiting_build_does_not_end_the_running_one(settings: Settings) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        first, _ = await server.accept_model(MODEL)
        await until(lambda: build.running == 1)
        second, _ = await server.accept_model(OTHER)
        await until(lambda: server.registry.builds.waiting == 1)
        await server.registry.remove(str(second.engine.id))
        assert (build.running, server.registry.builds.waiting) == (1, 0)
        build.gate.set()
        await until(lambda: state(server, first.engine.id) is State.READY)
        assert len(build.jobs) == 1


async def test_an_unload_ends_the_build_and_a_load_builds_it(settings: Settings) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        engine = (await server.accept_model(MODEL, "net"))[0].engine
        await until(lambda: build.running == 1)
        await server.registry.unload(str(engine.id))
        assert (build.running, state(server, engine.id)) == (0, State.UNLOADED)
    async with serving_builds(settings) as server:
        assert (state(server, engine.id), server.build.jobs) == (State.UNLOADED, [])
        await server.registry.load(str(engine.id))
        assert server.registry.ready("net").engine.id == engine.id
        assert len(server.build.jobs) == 1


# -- accepted before it is built


async def test_an_accepted_build_answers_at_once_and_has_its_name_when_it_is_ready(
    settings: Settings,
) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        resolved, created = await server.accept_model(MODEL, "net")
        assert created is None
        assert resolved.engine.state is State.BUILDING
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
        assert readiness.check_server(server.runtime, server.registry) == []  # type: ignore[arg-type]


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
