"""Engines with max_batch_size=auto, which is the default: a check before their first load decides."""

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.unit.serving import loaded, serving
from trtserve.engines.engine import State
from trtserve.errors import ExecutionFailed, Unavailable
from trtserve.http.schemas import EngineModel
from trtserve.oip.model_config import describe_config
from trtserve.options.engine_options import EngineOptions
from trtserve.plans.trial import Checked
from trtserve.settings import Settings
from trtserve.store.database import StoredEngine

pytestmark = pytest.mark.anyio

SAFE, MIXED = Checked(""), Checked("its rows are mixed")


class FakeTrial:
    """A trial whose check finds `found`, or that raises it."""

    def __init__(self, found: Checked | Exception | None) -> None:
        self.found = found
        self.tried: list[int] = []

    async def __call__(self, plan: Path, engine: StoredEngine) -> Checked | None:
        self.tried.append(engine.id)
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def new_runtime() -> FakeRuntime:
    """A runtime whose engines could be joined up to 64."""
    runtime = FakeRuntime()
    runtime.auto_batch_size = 64
    return runtime


@pytest.mark.parametrize("asked", [{}, {"max_batch_size": "auto"}])
@pytest.mark.parametrize(("found", "most", "why"), [(SAFE, 64, None), (MIXED, 1, "Its rows are mixed.")])
async def test_the_check_of_a_trial_decides_whether_requests_are_joined(
    settings: Settings, asked: dict[str, Any], found: Checked, most: int, why: str | None
) -> None:
    trial = FakeTrial(found)
    async with serving(settings, new_runtime(), trial) as server:
        resolved, _ = await server.add(onnx_plan(), "net", **asked)
        shown = EngineModel.of(resolved, None, {}, {})
        assert (shown.max_batch_size, shown.why_not_joined) == (most, why)
        assert len(trial.tried) == 1
        for same in ({}, {"max_batch_size": most}, {"max_batch_size": "auto"}):
            await server.add(onnx_plan(), **same)
        assert len(server.runtime.loads) == 1
        resolved, _ = await server.add(onnx_plan(), max_batch_size=7)
        assert EngineModel.of(resolved, None, {}, {}).max_batch_size == 7


async def test_an_explicit_number_that_came_first_stays_with_later_default_options(
    settings: Settings,
) -> None:
    async with serving(settings, new_runtime(), FakeTrial(MIXED)) as server:
        await server.add(onnx_plan(), "net", max_batch_size=8)
        resolved, _ = await server.add(onnx_plan(), "net")
        assert EngineModel.of(resolved, None, {}, {}).max_batch_size == 8


@pytest.mark.parametrize(("found", "most"), [(SAFE, 64), (MIXED, 1)])
async def test_a_start_does_not_repeat_a_check(settings: Settings, found: Checked, most: int) -> None:
    trial = FakeTrial(found)
    async with serving(settings, new_runtime(), trial) as server:
        await server.add(onnx_plan(), "net")
    trial.found = ExecutionFailed("It must not be tried again.")
    for _ in range(2):
        async with serving(settings, new_runtime(), trial) as server:
            await loaded(server)
            assert server.registry.ready("net").engine.loaded.max_batch_size == most
            assert server.registry.ready("net").engine.loaded.why_not_joined == found.why
    assert len(trial.tried) == 1


async def test_a_check_with_another_library_is_repeated_once(settings: Settings) -> None:
    trial = FakeTrial(SAFE)
    async with serving(settings, new_runtime(), trial) as server:
        await server.add(onnx_plan(), "net")
    trial.found = MIXED
    for _ in range(2):
        runtime = new_runtime()
        runtime.versions["openvino"] = "another"
        async with serving(settings, runtime, trial) as server:
            await loaded(server)
            assert server.registry.ready("net").engine.loaded.max_batch_size == 1
    assert len(trial.tried) == 2


@pytest.mark.parametrize("changed", [{"precision": "bf16"}, {"batch_dims": "x:1"}, {"device": "cuda:1"}])
async def test_a_check_with_other_options_is_repeated(settings: Settings, changed: dict[str, Any]) -> None:
    trial = FakeTrial(SAFE)
    async with serving(settings, new_runtime(), trial) as server:
        await server.add(onnx_plan(), "net")
        trial.found = MIXED
        await server.registry.load("net", EngineOptions(instances=3))
        assert server.registry.ready("net").engine.loaded.max_batch_size == 64
        await server.registry.load("net", EngineOptions(**changed))
        assert server.registry.ready("net").engine.loaded.max_batch_size == 1
    assert len(trial.tried) == 2


async def test_a_load_that_asks_for_auto_repeats_the_check(settings: Settings) -> None:
    trial = FakeTrial(MIXED)
    async with serving(settings, new_runtime(), trial) as server:
        await server.add(onnx_plan(), "net")
        trial.found = SAFE
        for asked, most in ((EngineOptions(), 1), (EngineOptions(max_batch_size="auto"), 64)):
            await server.registry.unload("net")
            await server.registry.load("net", asked)
            assert server.registry.ready("net").engine.loaded.max_batch_size == most


@pytest.mark.parametrize(
    "found",
    [
        Unavailable("No child can be forked."),
        ExecutionFailed("It crashed."),
        TypeError(),
        None,
        Checked("it was killed", lasting=False),
    ],
)
async def test_a_start_whose_check_fails_serves_without_batches_and_the_next_start_checks_again(
    settings: Settings, found: Checked | Exception | None
) -> None:
    trial = FakeTrial(Checked("it was killed", lasting=False))
    async with serving(settings, new_runtime(), trial) as server:
        await server.add(onnx_plan(), "net")
    trial.found = found
    async with serving(settings, new_runtime(), trial) as server:
        await loaded(server)
        engine = server.registry.resolve("net").engine
        assert (engine.state, engine.loaded.max_batch_size) == (State.READY, 1)
        assert engine.loaded.why_not_joined
    trial.found = SAFE
    async with serving(settings, new_runtime(), trial) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.loaded.max_batch_size == 64


async def test_without_trials_nothing_is_joined_that_nobody_asked_for(settings: Settings) -> None:
    async with serving(settings, new_runtime()) as server:
        engine = (await server.add(onnx_plan(), "net"))[0].engine
        assert engine.loaded.max_batch_size == 1
        assert "--trial-load" in engine.loaded.why_not_joined
    async with serving(settings, new_runtime(), FakeTrial(SAFE)) as server:
        await loaded(server)
        assert server.registry.ready("net").engine.loaded.max_batch_size == 64


@pytest.mark.parametrize("asked", [{"max_batch_size": 1}, {"max_batch_size": 8}])
async def test_what_was_asked_for_holds_without_a_check(settings: Settings, asked: dict[str, int]) -> None:
    trial = FakeTrial(MIXED)
    async with serving(settings, new_runtime(), trial) as server:
        engine = (await server.add(onnx_plan(), "net", **asked))[0].engine
        assert (engine.loaded.max_batch_size, engine.loaded.why_not_joined) == (asked["max_batch_size"], "")
    async with serving(settings, new_runtime(), trial) as server:
        await loaded(server)
    assert len(trial.tried) == 1


async def test_an_engine_that_takes_no_batches_is_not_checked_at_a_start(settings: Settings) -> None:
    trial = FakeTrial(None)
    async with serving(settings, FakeRuntime(), trial) as server:
        await server.add(onnx_plan(), "net")
    async with serving(settings, FakeRuntime(), trial) as server:
        await loaded(server)
    assert len(trial.tried) == 1


@pytest.mark.parametrize(("found", "most"), [(SAFE, 64), (MIXED, 0)])
async def test_the_configuration_says_what_was_decided_and_can_be_loaded_again(
    settings: Settings, found: Checked, most: int
) -> None:
    async with serving(settings, new_runtime(), FakeTrial(found)) as server:
        resolved, _ = await server.add(onnx_plan(), "net", preferred_batch_sizes="8,128")
        config = describe_config(resolved, [1])
        assert config["max_batch_size"] == most
        assert config["parameters"]["max_batch_size"] == {"string_value": str(most or 1)}
        assert config["input"][0]["dims"] == ([4] if most else [-1, 4])
        assert config.get("dynamic_batching", {}).get("preferred_batch_size") == ([8] if most else None)
        before = len(server.runtime.loads)
        await server.registry.load("net", EngineOptions(max_batch_size=most or 1))
        assert len(server.runtime.loads) == before
