"""Trial loads in the life of engines: when they run, and what ends them."""

import asyncio
from pathlib import Path

import pytest

from tests.fakes.plans import tensorrt_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.serving import loaded, serving
from tests.waiting import until
from trtserve.engines.engine import State
from trtserve.engines.turns import AT_ONCE
from trtserve.errors import InvalidInput, Unavailable
from trtserve.settings import Settings
from trtserve.store.database import StoredEngine

pytestmark = pytest.mark.anyio


class FakeTrial:
    """A fake trial that runs until `gate` is set, then raises `failure`."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.tried: list[int] = []

    async def __call__(self, plan: Path, engine: StoredEngine) -> None:
        self.tried.append(engine.id)
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure


async def test_a_stored_plan_is_tried_again_only_if_it_failed_and_is_uploaded_again(
    settings: Settings,
) -> None:
    trial = FakeTrial()
    async with serving(settings, trial=trial) as server:
        (engine, *_), _ = await server.add(tensorrt_plan(), "net")
        await server.add(tensorrt_plan(), "net")
    assert trial.tried == [engine.id]

    runtime = FakeRuntime()
    runtime.load_error = error("Unavailable", "the driver is gone")
    async with serving(settings, runtime, trial) as server:
        await loaded(server)
        assert server.registry.resolve("net").engine.state is State.FAILED
        assert trial.tried == [engine.id]
        trial.failure = InvalidInput("The plan crashed.")
        with pytest.raises(InvalidInput, match="crashed"):
            await server.add(tensorrt_plan(), "net")
        assert server.registry.resolve("net").engine.state is State.FAILED
        assert len(server.files()) == 1  # the stored one
        trial.failure = runtime.load_error = None
        await server.add(tensorrt_plan(), "net")
        assert server.registry.ready("net").engine.id == engine.id
    assert trial.tried == [engine.id] * 3


async def test_without_a_trial_a_plan_is_loaded_at_once(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(tensorrt_plan(), "net")
        assert len(server.runtime.loads) == 1


async def test_closing_ends_the_trials(settings: Settings) -> None:
    trial = FakeTrial()
    trial.gate.clear()
    async with serving(settings, trial=trial) as server:
        adding = [asyncio.create_task(server.add(tensorrt_plan((10, 0, 0, n)))) for n in range(4)]
        await until(lambda: len(trial.tried) == AT_ONCE)
        await server.registry.close()
        ends = await asyncio.gather(*adding, return_exceptions=True)
        assert [(type(end), str(end)) for end in ends] == [(Unavailable, "The server is stopping.")] * 4
        assert server.runtime.loads == []
        assert server.files() == []


async def test_a_cancelled_caller_does_not_stop_the_trial(settings: Settings) -> None:
    trial = FakeTrial()
    trial.gate.clear()
    async with serving(settings, trial=trial) as server:
        adding = asyncio.create_task(server.add(tensorrt_plan(), "net"))
        await until(lambda: len(trial.tried) == 1)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        trial.gate.set()
        _, created = await server.add(tensorrt_plan(), "net")
        assert not created
        assert len(trial.tried) == 1
