"""Plans that crashed a previous server, and the trials before loads."""

import pytest

from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.unit.loads import BAD, GOOD, OTHER, Trial, end_during_loads, state, stored
from tests.unit.serving import loaded, serving
from trtserve.engines import readiness
from trtserve.engines.engine import State
from trtserve.errors import InvalidInput
from trtserve.plans.child import PlanCrashed
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


async def test_a_plan_that_crashed_a_server_fails_if_its_trial_crashes_too(
    settings: Settings,
) -> None:
    good, bad, other = await stored(settings, GOOD, BAD, OTHER)
    trial = Trial()
    trial.failures[bad] = PlanCrashed("The plan crashed TensorRT.")
    for crash in (True, False):
        end_during_loads(settings, good, bad, crash=crash)
        trial.tried.clear()
        async with serving(settings, trial=trial) as server:
            await loaded(server)
            assert sorted(trial.tried) == sorted([good, bad])
            assert trial.most == 1
            assert bad not in [id for id, *_ in server.runtime.loads]
            assert [state(server, id) for id in (good, bad, other)] == [
                State.READY,
                State.FAILED,
                State.READY,
            ]
            reason = server.registry.resolve(str(bad)).engine.reason
            assert reason is not None
            assert reason.startswith("It crashed the server when it was loaded at 20")
            assert reason.endswith("The plan crashed TensorRT.")
            readiness.check_server(server.runtime, server.registry)
    trial.tried.clear()
    async with serving(settings, trial=trial) as server:  # a later start: the mark is still there
        await loaded(server)
        assert trial.tried == [bad]
        assert state(server, bad) is State.FAILED


@pytest.mark.parametrize("again", ["load", "upload"])
async def test_an_explicit_load_tries_a_suspected_plan_again_and_clears_it(
    settings: Settings, again: str
) -> None:
    (bad,) = await stored(settings, BAD)
    trial = Trial()
    trial.failures[bad] = PlanCrashed("The plan crashed TensorRT.")
    end_during_loads(settings, bad)
    async with serving(settings, trial=trial) as server:
        await loaded(server)

        async def retry() -> None:
            await (server.registry.load(str(bad)) if again == "load" else server.add(BAD))

        with pytest.raises(InvalidInput, match="crashed"):
            await retry()
        assert state(server, bad) is State.FAILED
        trial.failures.clear()
        await retry()
        assert state(server, bad) is State.READY
        assert len(trial.tried) == 3
    async with serving(settings, trial=trial) as server:
        await loaded(server)
        assert state(server, bad) is State.READY
        assert len(trial.tried) == 3


async def test_a_plan_that_passes_its_trial_but_crashes_the_server_twice_is_not_loaded(
    settings: Settings,
) -> None:
    good, bad = await stored(settings, GOOD, BAD)
    end_during_loads(settings, good, bad)
    async with serving(settings, trial=Trial()) as server:
        await loaded(server)
        assert {state(server, id) for id in (good, bad)} == {State.READY}
    for _ in range(2):
        end_during_loads(settings, bad)
    for _ in range(2):
        async with serving(settings, trial=Trial()) as server:
            await loaded(server)
            assert [id for id, *_ in server.runtime.loads] == [good]
            failed = server.registry.resolve(str(bad)).engine
            assert failed.state is State.FAILED
            assert failed.reason is not None
            assert "not for the first time" in failed.reason
    async with serving(settings, trial=Trial()) as server:
        await loaded(server)
        await server.registry.load(str(bad))
        assert state(server, bad) is State.READY


async def test_kills_and_power_cuts_fail_no_engine(settings: Settings) -> None:
    ids = await stored(settings, GOOD, BAD)
    trial = Trial()
    for _ in range(5):
        end_during_loads(settings, *ids, crash=False)
    async with serving(settings, trial=trial) as server:
        await loaded(server)
        assert {state(server, id) for id in ids} == {State.READY}
        assert sorted(trial.tried) == sorted(ids)
        assert list((settings.store / "loading").iterdir()) == []


async def test_without_trials_a_plan_that_crashed_a_server_is_loaded_once_more(settings: Settings) -> None:
    (bad,) = await stored(settings, BAD)
    end_during_loads(settings, bad)
    async with serving(settings) as server:
        await loaded(server)
        assert state(server, bad) is State.READY


async def test_removing_an_engine_removes_its_mark(settings: Settings) -> None:
    (bad,) = await stored(settings, BAD)
    trial = Trial()
    trial.failures[bad] = PlanCrashed("The plan crashed TensorRT.")
    end_during_loads(settings, bad)
    async with serving(settings, trial=trial) as server:
        await loaded(server)
        await server.registry.remove(str(bad))
    async with serving(settings):
        assert list((settings.store / "loading").iterdir()) == []


# -- trials of every backend


async def test_plans_of_every_backend_are_tried_before_they_are_loaded(settings: Settings) -> None:
    trial = Trial()
    async with serving(settings, trial=trial) as server:
        ids = [(await server.add(plan))[0].engine.id for plan in (onnx_plan(), tensorrt_plan())]
        assert trial.tried == ids
        trial.failures = dict.fromkeys(ids, PlanCrashed("It crashed."))
        await server.registry.remove(str(ids[0]))
        with pytest.raises(InvalidInput, match="crashed"):
            await server.add(onnx_plan())
        assert len(server.runtime.loads) == 2
