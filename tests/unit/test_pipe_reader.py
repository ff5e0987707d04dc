"""The reading end of a pipe on the event loop."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from tests.waiting import until
from trtserve.pipe_reader import PipeReader

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


@pytest.fixture
def pipe() -> Iterator[tuple[PipeReader, int]]:
    """A reader, and the descriptor to write to."""
    ours, theirs = os.pipe()
    reader = PipeReader(ours)
    yield reader, theirs
    reader.close()
    os.close(theirs)


async def test_what_is_written_is_read_as_it_comes_up_to_the_end() -> None:
    ours, theirs = os.pipe()
    reader = PipeReader(ours)
    os.write(theirs, b"first")
    assert await reader.read(3) == b"fir"
    assert await reader.read(100) == b"st"
    last = asyncio.create_task(reader.read(100))
    await asyncio.sleep(0)
    os.write(theirs, b"last")
    assert await last == b"last"
    os.close(theirs)
    assert await reader.read(100) == b""
    reader.close()


async def test_a_writer_without_a_pause_leaves_others_their_turn(pipe: tuple[PipeReader, int]) -> None:
    reader, theirs = pipe
    turns = []

    async def other() -> None:
        while len(turns) < 10:
            turns.append(1)
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    for _ in range(20):
        os.write(theirs, b"x")
        await reader.read(1)
    assert task.done()


async def test_a_read_that_is_cancelled_takes_nothing(pipe: tuple[PipeReader, int]) -> None:
    reader, theirs = pipe
    reading = asyncio.create_task(reader.read(100))
    await asyncio.sleep(0)
    reading.cancel()
    await until(reading.done)
    os.write(theirs, b"kept")
    assert await reader.read(100) == b"kept"


async def test_its_descriptor_is_closed_once_whoever_has_the_number_afterwards() -> None:
    ours, theirs = os.pipe()
    reader = PipeReader(ours)
    os.write(theirs, b"x")
    await reader.read(1)
    reader.close()
    other = os.open(os.devnull, os.O_RDONLY)
    assert other == ours
    reader.close()
    for _ in range(5):
        await asyncio.sleep(0)
    os.fstat(other)
    os.close(other)
    with pytest.raises(BrokenPipeError):
        os.write(theirs, b"nobody reads")
    os.close(theirs)
