"""Modules, and the engines that they call, on a fake runtime."""

from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.plans import module_plan, onnx_plan
from tests.fakes.runtime import MEMORY_BYTES, error
from tests.unit.engines.modules import Runtime, Trial
from tests.unit.serving import Server, loaded, serving
from trtserve.engines.engine import State
from trtserve.errors import Conflict, InvalidInput
from trtserve.http.schemas import EngineModel
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings
from trtserve.store.staging import engine_id

pytestmark = pytest.mark.anyio


@pytest.fixture
def trial() -> Trial:
    return Trial()


async def add(server: Server, plan: bytes, name: str | None = None, **options: Any) -> int:
    return (await server.add(plan, name, **options))[0].engine.id


async def pipeline(server: Server) -> tuple[int, int, int]:
    """Upload the engines a and b and the module m, which calls both; return their IDs."""
    a, b = await add(server, onnx_plan(1), "a"), await add(server, onnx_plan(2), "b")
    return a, b, await add(server, module_plan("a", b), "m")


def state(server: Server, ref: str | int) -> State:
    return server.registry.resolve(str(ref)).engine.state


async def test_a_module_is_loaded_with_what_its_names_stand_for(settings: Settings, trial: Trial) -> None:
    async with serving(settings, Runtime(), trial) as server:
        a, b, m = await pipeline(server)
        *_, options = server.runtime.loads[-1]
        assert options.engines == {"a": a}
        assert server.runtime.engine(m).uses == sorted([a, b])
        resolved = server.registry.resolve("m")
        shown = EngineModel.of(resolved, None, {}, {}, server.registry.dependencies.users_of(m))
        assert (shown.uses, shown.used_by) == (sorted([a, b]), [])
        assert [user.id for user in server.registry.dependencies.users_of(a)] == [m]


async def test_a_name_in_a_module_stands_for_what_it_stood_for_at_the_upload(
    settings: Settings, trial: Trial
) -> None:
    async with serving(settings, Runtime(), trial) as server:
        a, _, m = await pipeline(server)
        await add(server, onnx_plan(3), "a")
        await server.registry.unload("m")
        await server.registry.load("m")
        assert server.runtime.loads[-1][0] == m
        assert server.runtime.loads[-1][-1].engines == {"a": a}


@pytest.mark.parametrize(
    ("calls", "missing"),
    [(["a", "c"], "calls 'c', which"), ([5], "calls engine 5, which"), ([5, "c"], "engine 5 and 'c', which")],
)
async def test_a_module_that_calls_what_is_not_there_is_refused_and_leaves_nothing(
    settings: Settings, trial: Trial, calls: list[str | int], missing: str
) -> None:
    async with serving(settings, Runtime(), trial) as server:
        await add(server, onnx_plan(1), "a")
        files = sorted(server.files())
        with pytest.raises(Conflict, match=missing):
            await add(server, module_plan(*calls), "m")
        assert sorted(server.files()) == files
        assert len(server.runtime.loads) == 1
        await server.registry.remove("a")  # nothing holds it


async def test_a_module_that_a_trial_refuses_is_not_loaded(settings: Settings, trial: Trial) -> None:
    trial.refuses = InvalidInput("it calls aten::save")
    async with serving(settings, Runtime(), trial) as server:
        with pytest.raises(InvalidInput, match="aten::save"):
            await add(server, module_plan(), "m")
        assert not server.runtime.loads
        assert not server.files()


async def test_an_engine_that_a_loaded_module_calls_is_changed_under_it(
    settings: Settings, trial: Trial
) -> None:
    three = EngineOptions(instances=3)
    async with serving(settings, Runtime(), trial) as server:
        a, _, _ = await pipeline(server)
        for ref in ("a", "m"):
            await server.registry.change(ref, three)
            assert server.registry.ready(ref).engine.loaded.instances == 3
            with pytest.raises(Conflict, match="is called by module"):
                await server.registry.unload("a")
        with pytest.raises(Conflict, match="is called by module"):
            await server.registry.change("a", EngineOptions(instances=4), in_place=True)
        await server.registry.unload("a", dependents=True)
        assert (state(server, str(a)), state(server, "m")) == ("UNLOADED", "UNLOADED")


async def test_an_engine_that_a_loaded_module_calls_is_not_unloaded(settings: Settings, trial: Trial) -> None:
    async with serving(settings, Runtime(), trial) as server:
        a, _, _ = await pipeline(server)
        for ref in ("a", str(a)):
            with pytest.raises(Conflict, match=r"called by module \d+ \(m\): unload those first"):
                await server.registry.unload(ref)
        assert state(server, "a") is State.READY
        await server.registry.unload("a", dependents=True)
        assert (state(server, "a"), state(server, "b"), state(server, "m")) == (
            "UNLOADED",
            "READY",
            "UNLOADED",
        )
        with pytest.raises(Conflict, match=r"'a' \(engine \d+\), which is not ready.*load it with POST"):
            await server.registry.load("m")
        await server.registry.load("a")
        await server.registry.load("m")
        assert state(server, "m") is State.READY


async def test_an_engine_that_a_module_calls_is_removed_only_by_force(
    settings: Settings, trial: Trial
) -> None:
    async with serving(settings, Runtime(), trial) as server:
        _, _, m = await pipeline(server)
        await server.registry.unload("m")
        with pytest.raises(Conflict, match=r"remove those first, or pass force=true"):
            await server.registry.remove("a")
        await server.registry.load("m")
        await server.registry.remove("a", force=True)
        assert state(server, m) is State.UNLOADED
        with pytest.raises(Conflict, match="does not have any more"):
            await server.registry.load("m")
        await add(server, onnx_plan(1))  # the same plan has the same ID
        await server.registry.load("m")
        await server.registry.remove("m")
        await server.registry.remove("b")


async def test_a_name_that_a_module_calls_may_go_where_its_engine_stays(
    settings: Settings, trial: Trial
) -> None:
    async with serving(settings, Runtime(), trial) as server:
        a, _, _ = await pipeline(server)
        await add(server, onnx_plan(1), "other")
        await server.registry.remove("a")
        assert state(server, a) is State.READY


async def test_a_start_loads_a_module_after_what_it_calls(settings: Settings, trial: Trial) -> None:
    async with serving(settings, Runtime(), trial) as server:
        a, b, m = await pipeline(server)
        outer = await add(server, module_plan("m"), "outer")
    assert [id for id, _ in server.runtime.unloads][:2] == [outer, m]
    trial.tried.clear()
    async with serving(settings, Runtime(), trial) as server:
        await loaded(server)
        assert {state(server, ref) for ref in ("a", "b", "m", "outer")} == {State.READY}
        order = [id for id, *_ in server.runtime.loads]
        assert set(order[:2]) == {a, b}
        assert order[2:] == [m, outer]
        assert server.runtime.loads[2][-1].engines == {"a": a}
    assert not trial.tried


async def test_a_module_whose_engine_cannot_be_loaded_says_so(settings: Settings, trial: Trial) -> None:
    async with serving(settings, Runtime(), trial) as server:
        await pipeline(server)
    runtime = Runtime()
    runtime.refuses = lambda options: options.name == "a"
    async with serving(settings, runtime, trial) as server:
        await loaded(server)
        assert (state(server, "a"), state(server, "m")) == (State.FAILED, State.FAILED)
        assert "calls 'a'" in (server.registry.resolve("m").engine.reason or "")


async def test_a_module_is_evicted_before_the_engines_that_it_calls(tmp_path: Path, trial: Trial) -> None:
    """Although they have not been used for longer."""
    settings = Settings(store=tmp_path / "store", memory_budget=f"cpu={int(3.5 * MEMORY_BYTES)}")
    hours = count()
    async with serving(settings, Runtime(), trial, clock=lambda: 3600.0 * next(hours)) as server:
        await pipeline(server)
        await add(server, onnx_plan(3), "c")
        assert {ref: state(server, ref) for ref in "abcm"} == {
            "a": "READY",
            "b": "READY",
            "c": "READY",
            "m": "DORMANT",
        }
        await add(server, onnx_plan(4), "d")  # nothing keeps them any more
        assert "DORMANT" in {state(server, "a"), state(server, "b")}


async def test_a_request_for_a_module_that_is_not_resident_loads_its_engines_too(
    settings: Settings, trial: Trial
) -> None:
    async with serving(settings, Runtime(), trial) as server:
        for ref, plan in {"a": onnx_plan(1), "m": module_plan("a")}.items():
            await add(server, plan, ref, residency="lazy")
    async with serving(settings, Runtime(), trial) as server:
        await loaded(server)
        assert (state(server, "a"), state(server, "m")) == (State.DORMANT, State.DORMANT)
        await server.registry.demand.resident("m")
        assert (state(server, "a"), state(server, "m")) == (State.READY, State.READY)


async def test_a_module_that_cannot_be_loaded_holds_no_engines(settings: Settings, trial: Trial) -> None:
    runtime = Runtime()
    async with serving(settings, runtime, trial) as server:
        await add(server, onnx_plan(1), "a")
        runtime.load_error = error("InvalidInput", "forward takes 2 arguments")
        with pytest.raises(Exception, match="2 arguments"):
            await add(server, module_plan("a"), "m")
        runtime.load_error = None
        await server.registry.unload("a")
        assert state(server, "a") is State.UNLOADED


async def test_requests_of_a_module_are_joined_only_if_the_upload_says_so(
    settings: Settings, trial: Trial
) -> None:
    runtime = Runtime()
    runtime.auto_batch_size = 64
    async with serving(settings, runtime, trial) as server:
        alone = await add(server, module_plan(), "alone")
        joined = await add(server, module_plan() + b" ", "joined", max_batch_size=8)
        assert runtime.engine(alone).max_batch_size == 1
        assert "max_batch_size says how many" in runtime.engine(alone).why_not_joined
        assert runtime.engine(joined).max_batch_size == 8


async def test_the_id_of_a_module_comes_from_its_file(settings: Settings, trial: Trial) -> None:
    async with serving(settings, Runtime(), trial) as server:
        resolved, _ = await server.add(module_plan())
        assert resolved.engine.id == engine_id(resolved.engine.digest)
        _, is_new = await server.add(module_plan(), "again")
        assert not is_new
