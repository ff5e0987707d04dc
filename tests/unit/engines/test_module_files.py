"""Modules with their plans, on their way to clients: what goes wrong, and how many there may be."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime_ext import Error
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.unit.serving import serving
from tests.waiting import until
from trtserve.engines.engine import Engine
from trtserve.engines.module_files import AT_ONCE, PIECE_BYTES, ModuleFiles
from trtserve.errors import Unavailable
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

Write = Callable[[int], None]
PLAN = Path("plan")


class Writing(FakeRuntime):
    """A runtime whose module is what `write` writes; counts the writes that have ended."""

    def __init__(self, write: Write) -> None:
        super().__init__()
        self._write = write
        self.ended: list[BaseException | None] = []

    def write_module(self, id: int, plan: str, fd: int) -> None:
        try:
            self._write(fd)
        except BaseException as failure:
            self.ended.append(failure)
            raise
        self.ended.append(None)


async def added(settings: Settings) -> Engine:
    async with serving(settings) as server:
        resolved, _ = await server.add(onnx_plan())
        return resolved.engine


def endless(fd: int) -> None:
    while True:
        os.write(fd, bytes(PIECE_BYTES))


async def test_what_the_runtime_refuses_is_raised_before_anything_is_sent(settings: Settings) -> None:
    def refuse(fd: int) -> None:
        raise error("NotFound", "there is no engine 5")

    with pytest.raises(Error, match="no engine 5"):
        await ModuleFiles(Writing(refuse)).open(await added(settings), PLAN)


async def test_a_file_that_ends_early_is_not_taken_for_a_whole_one(settings: Settings) -> None:
    def break_off(fd: int) -> None:
        os.write(fd, b"begin")
        raise error("Unavailable", "the plan file cannot be read")

    file = await ModuleFiles(Writing(break_off)).open(await added(settings), PLAN)
    pieces = file.pieces()
    assert await anext(pieces) == b"begin"
    with pytest.raises(Error, match="cannot be read"):
        await anext(pieces)
    file.close()


async def test_the_thread_ends_when_its_client_leaves(settings: Settings) -> None:
    runtime = Writing(endless)
    file = await ModuleFiles(runtime).open(await added(settings), PLAN)
    assert runtime.ended == []
    file.close()
    await until(lambda: bool(runtime.ended))
    assert isinstance(runtime.ended[0], BrokenPipeError)


async def test_no_more_files_are_sent_at_once_than_there_are_threads(settings: Settings) -> None:
    runtime = Writing(endless)
    files = ModuleFiles(runtime)
    engine = await added(settings)
    sent = [await files.open(engine, PLAN) for _ in range(AT_ONCE)]
    with pytest.raises(Unavailable, match="this server's limit"):
        await files.open(engine, PLAN)
    sent.pop().close()
    await until(lambda: files.writing < AT_ONCE)
    sent.append(await files.open(engine, PLAN))
    for file in sent:
        file.close()
    await until(lambda: files.writing == 0)
