"""What a backend compiled at one load is offered to the next, and never stands in a load's way."""

import hashlib
from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.fakes.values import error
from tests.unit.loads import HANGS, HangingRuntime
from tests.unit.serving import loaded, serving
from tests.waiting import until
from trtserve.engines.engine import State
from trtserve.errors import Unavailable
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

PLAN = onnx_plan(1)


def offered(runtime: FakeRuntime) -> list[str]:
    return [options.compiled for *_, options in runtime.loads]


def files(settings: Settings) -> list[Path]:
    return sorted(path for name in ("compiled", "incoming") for path in (settings.store / name).iterdir())


async def test_a_load_is_offered_what_an_earlier_one_compiled(settings: Settings) -> None:
    runtime = FakeRuntime()
    runtime.compiles = b"compiled"
    async with serving(settings, runtime) as server:
        added = (await server.add(PLAN))[0].engine
        assert offered(runtime) == [""]
    (path,) = files(settings)
    assert (path.name, path.read_bytes()[32:]) == (f"{added.stored.digest}.compiled", b"compiled")
    runtime = FakeRuntime()
    runtime.compiles = b"compiled again"
    async with serving(settings, runtime) as server:
        await loaded(server)
        assert offered(runtime) == [str(path)]
        assert path.read_bytes()[32:] == b"compiled"
        await server.registry.remove(str(added.id))
        assert files(settings) == []


async def test_a_damaged_file_is_not_offered_and_is_written_again(settings: Settings) -> None:
    runtime = FakeRuntime()
    runtime.compiles = b"compiled"
    async with serving(settings, runtime) as server:
        await server.add(PLAN)
    (path,) = files(settings)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    runtime = FakeRuntime()
    runtime.compiles = b"compiled"
    async with serving(settings, runtime) as server:
        await loaded(server)
        assert offered(runtime) == [""]
    assert path.read_bytes() == whole


async def test_an_engine_is_ready_though_its_compiled_model_cannot_be_written(settings: Settings) -> None:
    runtime = FakeRuntime()
    runtime.write_error = error("Unsupported", "The model cannot be exported.")
    async with serving(settings, runtime) as server:
        assert (await server.add(PLAN))[0].engine.state is State.READY
    assert files(settings) == []


async def test_a_load_that_fails_leaves_no_compiled_model(settings: Settings) -> None:
    runtime = FakeRuntime()
    runtime.compiles = b"compiled"
    runtime.load_error = error("InvalidInput", "The plan is bad.")
    async with serving(settings, runtime) as server:
        with pytest.raises(Exception, match="The plan is bad"):
            await server.add(PLAN)
    assert files(settings) == []


async def test_nothing_is_kept_or_offered_if_the_setting_is_off(settings: Settings) -> None:
    runtime = FakeRuntime()
    runtime.compiles = b"compiled"
    async with serving(settings, runtime) as server:
        await server.add(PLAN)
    off = settings.model_copy(update={"keep_compiled": False})
    runtime = FakeRuntime()
    runtime.compiles = b"compiled"
    async with serving(off, runtime) as server:
        await loaded(server)
        assert offered(runtime) == [""]
        assert files(settings) == []


async def test_a_load_that_was_given_up_leaves_no_compiled_model_of_a_removed_engine(
    settings: Settings,
) -> None:
    runtime = HangingRuntime()
    runtime.compiles = b"compiled"
    hasty = settings.model_copy(update={"load_timeout_s": 0.2})
    async with serving(hasty, runtime) as server:
        with pytest.raises(Unavailable, match="given up"):
            await server.add(HANGS)
        # As if the load had read the plan, which has been deleted meanwhile.
        (settings.store / "plans" / f"{hashlib.sha256(HANGS).hexdigest()}.plan").write_bytes(HANGS)
        runtime.gate.set()
        await until(lambda: not server.registry.loads_given_up)
        assert len(runtime.unloads) == 1
        assert files(settings) == []
