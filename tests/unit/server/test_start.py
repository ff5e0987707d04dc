"""The start of a server: a failure halfway, and the garbage collector afterwards."""

import asyncio
import gc

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.unit.serving import serving, until_loading
from tests.waiting import HANGS_AFTER_S
from trtserve.engines.engine import State
from trtserve.engines.registry import Registry
from trtserve.errors import Unavailable
from trtserve.server.app import create_app
from trtserve.server.process import freeze_after, freeze_objects, limit_collections
from trtserve.settings import Settings
from trtserve.store.store import Store

pytestmark = pytest.mark.anyio


async def test_a_failed_start_closes_everything_it_opened(
    settings: Settings, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Registry) -> None:
        raise Unavailable("The disk is gone.")

    monkeypatch.setattr(Registry, "start", fail)
    app = create_app(settings, runtime=runtime)
    with pytest.raises(Unavailable, match="The disk is gone"):
        async with app.router.lifespan_context(app):
            raise AssertionError("the start succeeded")
    assert runtime.closed
    assert not asyncio.get_running_loop().remove_reader(runtime.completion_fd())  # no reader is left
    Store(settings.store).close()


def test_the_garbage_collector_skips_objects_that_exist_after_the_start() -> None:
    before = gc.get_freeze_count()
    try:
        freeze_objects()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


async def test_the_garbage_collector_skips_the_engines_that_a_start_has_loaded(settings: Settings) -> None:
    async with serving(settings) as server:
        await server.add(onnx_plan(0), "a")
    async with serving(settings, loading := FakeRuntime()) as again:
        loading.load_gate.clear()
        freezing = asyncio.create_task(freeze_after(again.registry.restored()))
        await until_loading(again)
        assert not freezing.done()
        loading.load_gate.set()
        try:
            await freezing
            engine = again.registry.resolve("a").engine
            assert engine.state is State.READY
            assert not any(known is engine.stored for known in gc.get_objects())  # has no frozen ones
        finally:
            gc.unfreeze()
    loading.end()


async def test_a_start_without_engines_has_loaded_them(settings: Settings) -> None:
    async with serving(settings) as server, asyncio.timeout(HANGS_AFTER_S):
        await server.registry.restored()


def test_the_garbage_collector_visits_few_young_objects_at_a_time() -> None:
    before = gc.get_threshold()
    visited: list[int] = []

    def visit(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] < 2:
            visited.append(sum(len(gc.get_objects(number)) for number in range(info["generation"] + 1)))

    gc.collect()
    gc.callbacks.append(visit)
    try:
        limit_collections()
        kept = [[] for _ in range(20_000)]  # type: ignore[var-annotated]
    finally:
        gc.callbacks.remove(visit)
        gc.set_threshold(*before)
    assert len(kept) == 20_000
    assert len(visited) > 10
    assert max(visited) <= 3_100
