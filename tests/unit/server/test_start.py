"""The start of a server: a failure halfway, and the garbage collector afterwards."""

import asyncio
import gc

import pytest

from tests.fakes.runtime import FakeRuntime
from trtserve.engines.registry import Registry
from trtserve.errors import Unavailable
from trtserve.server.app import create_app
from trtserve.server.process import freeze_objects
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
    try:
        freeze_objects()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
