"""Receiving an upload to disk, without HTTP: a cancelled upload leaves no file."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.waiting import until
from trtserve.errors import Unavailable
from trtserve.plans.receive import Uploads, receive_plan
from trtserve.store.staging import PlanWriter

pytestmark = pytest.mark.anyio


async def one_chunk(chunk: bytes) -> AsyncIterator[bytes]:
    yield chunk


async def first_byte(head: bytes) -> bytes:
    """An inspection that accepts everything."""
    return head[:1]


async def test_the_result_of_the_inspection_is_returned_with_the_plan(tmp_path: Path) -> None:
    plan, found = await receive_plan(
        one_chunk(b"a plan"),
        uploads=Uploads(),
        open_writer=lambda: PlanWriter(tmp_path),
        inspect=first_byte,
        limit=100,
        declared=None,
    )
    assert (plan.size, found) == (6, b"a")


async def test_an_upload_cancelled_while_its_file_is_opened_leaves_no_file(tmp_path: Path) -> None:
    opening, may_open, opened = threading.Event(), threading.Event(), threading.Event()

    def open_writer() -> PlanWriter:
        opening.set()
        may_open.wait()
        try:
            return PlanWriter(tmp_path)
        finally:
            opened.set()

    receiving = asyncio.create_task(
        receive_plan(
            one_chunk(b"a plan"),
            uploads=Uploads(),
            open_writer=open_writer,
            inspect=first_byte,
            limit=100,
            declared=None,
        )
    )
    await until(opening.is_set)
    receiving.cancel()
    await asyncio.sleep(0)  # the cancellation arrives before the file exists
    may_open.set()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    await until(opened.is_set)
    assert names(tmp_path) == []


async def test_a_file_that_cannot_be_opened_is_reported(tmp_path: Path) -> None:
    def open_writer() -> PlanWriter:
        raise Unavailable("The disk is full.")

    with pytest.raises(Unavailable, match="The disk is full"):
        await receive_plan(
            one_chunk(b"a"),
            uploads=Uploads(),
            open_writer=open_writer,
            inspect=first_byte,
            limit=9,
            declared=None,
        )


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
