"""Engines whose plans are built from models: builds and failures, their turns, and removals meanwhile."""

import asyncio
import hashlib
from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import error
from tests.unit.builds import MODEL, OTHER, TARGET, FakeBuild, building_runtime, held, only_id, serving_builds
from tests.unit.loads import Trial, state
from tests.waiting import HANGS_AFTER_S, until
from trtserve.engines.engine import State
from trtserve.errors import Conflict, InvalidInput, NotFound, Unavailable, Unsupported
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


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


async def test_uploads_that_come_together_do_not_pass_the_limit(settings: Settings) -> None:
    build = held()
    few = settings.model_copy(update={"max_waiting_builds": 2})
    async with serving_builds(few, build=build) as server:
        same = [asyncio.create_task(server.add_model(MODEL)) for _ in range(5)]
        others = [asyncio.create_task(server.add_model(onnx_plan(n))) for n in range(10, 15)]
        await until(lambda: sum(task.done() for task in (*same, *others)) == 7)
        build.gate.set()
        ends = await asyncio.gather(*same, *others, return_exceptions=True)
        refused = [end for end in ends if isinstance(end, BaseException)]
        assert {type(end) for end in refused} == {Unavailable}
        assert len(refused) == 7
        await server.add_model(OTHER)


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


@pytest.mark.parametrize("remove", [True, False])
async def test_a_build_that_has_yet_to_begin_is_ended_too(settings: Settings, remove: bool) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        engine = (await server.accept_model(MODEL))[0].engine
        end = server.registry.remove if remove else server.registry.unload
        async with asyncio.timeout(HANGS_AFTER_S):
            await end(str(engine.id))  # at once: nobody has waited for the child
        assert build.running == 0
        assert [kept.state for kept in server.registry.engines()] == ([] if remove else [State.UNLOADED])


async def test_a_removal_ends_the_uploads_of_the_same_model_that_wait(settings: Settings) -> None:
    build = held()
    async with serving_builds(settings, build=build) as server:
        adding = [asyncio.create_task(server.add_model(MODEL)) for _ in range(3)]
        await until(lambda: build.running == 1)
        async with asyncio.timeout(HANGS_AFTER_S):
            await server.registry.remove(str(only_id(server)))
        ends = await asyncio.gather(*adding, return_exceptions=True)
        assert [type(end) for end in ends] == [Conflict] * 3
        assert (server.registry.engines(), server.all_files(), len(build.jobs)) == ([], [], 1)


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
