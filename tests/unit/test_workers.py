"""Work off the event loop: a kind of work whose threads are all blocked delays no other kind."""

import asyncio
import threading
import zlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.waiting import until
from trtserve.http.content_coding import compressed, decompressed
from trtserve.plans.receive import Uploads, receive_plan
from trtserve.store.staging import PlanWriter

pytestmark = pytest.mark.anyio

UPLOADS = 40  # more than the threads of any executor


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def slow_disk() -> Iterator[threading.Event]:
    """An event that unblocks the disk."""
    goes_on = threading.Event()
    yield goes_on
    goes_on.set()


async def plan() -> AsyncIterator[bytes]:
    yield b"a plan"


async def pieces(whole: bytes) -> AsyncIterator[bytes]:
    yield whole


async def test_uploads_to_a_slow_disk_do_not_delay_compression(slow_disk: threading.Event) -> None:
    opening: list[None] = []

    def open_writer() -> PlanWriter:
        opening.append(None)
        slow_disk.wait()
        raise OSError("the disk is gone")

    async def inspect(_: bytes) -> None:
        pass

    uploads = [
        asyncio.create_task(
            receive_plan(
                plan(),
                uploads=Uploads(),
                open_writer=open_writer,
                inspect=inspect,
                limit=100,
                declared=None,
            )
        )
        for _ in range(UPLOADS)
    ]
    await until(lambda: bool(opening))
    body = bytes(1_000_000)
    answer, headers = await compressed([body], {}, "gzip")
    assert headers["Content-Encoding"] == "gzip"
    assert len(answer) < len(body)
    taken = [piece async for piece in decompressed(pieces(zlib.compress(body)), "deflate")]
    assert b"".join(taken) == body
    assert not any(upload.done() for upload in uploads)
    slow_disk.set()
    assert all(isinstance(end, OSError) for end in await asyncio.gather(*uploads, return_exceptions=True))
