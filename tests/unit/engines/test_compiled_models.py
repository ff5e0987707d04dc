"""What a backend compiled at one load is offered to the next, and never stands in a load's way."""

from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.fakes.values import error
from tests.unit.serving import loaded, serving
from trtserve.engines.engine import State
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
