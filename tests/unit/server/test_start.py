"""The start of a server: one that fails half-way, and what is done at its end."""

import asyncio
import gc

import pytest

from tests.fakes.runtime import FakeRuntime
from trtserve.engines.registry import Registry
from trtserve.errors import Unavailable
from trtserve.server.app import create_app
from trtserve.server.process import keep_what_is_there
from trtserve.settings import Settings
from trtserve.store.store import Store

pytestmark = pytest.mark.anyio


async def test_a_start_that_fails_closes_what_it_had_opened(
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
    assert not asyncio.get_running_loop().remove_reader(runtime.completion_fd())  # there is none any more
    Store(settings.store).close()


def test_what_is_there_when_a_server_has_started_is_spared_by_the_garbage_collector() -> None:
    try:
        keep_what_is_there()
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
