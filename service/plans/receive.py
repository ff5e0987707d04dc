"""Receives an upload's body: writes and hashes it as it arrives, and inspects its first block."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from trtserve.errors import InvalidInput, TooLarge
from trtserve.store.staging import PlanWriter, StagedPlan
from trtserve.streams import over_limit, within
from trtserve.workers import UPLOADS

T = TypeVar("T")

BLOCK_BYTES = 4 * 1024**2  # per hand-over to a worker thread: switching threads costs more than a chunk


class Uploads:
    """How many plans are arriving, and how many bytes have arrived. Belongs to the event loop."""

    def __init__(self) -> None:
        self.in_progress = 0
        self.received_bytes = 0


async def receive_plan(
    body: AsyncIterator[bytes],
    *,
    uploads: Uploads,
    open_writer: Callable[[], PlanWriter],
    inspect: Callable[[bytes], Awaitable[T]],
    limit: int,
    declared: int | None,
) -> tuple[StagedPlan, T]:
    """Stage a plan, which counts among the `uploads` until it has arrived.

    `limit` and `declared` (the Content-Length, if given) are in bytes.

    `inspect` gets the first block, and its result is returned beside the plan; it may refuse the block, so
    that a wrong file is not received whole. If this fails, even because the client left, nothing stays on
    disk. Raises TooLarge, InvalidInput, and what `inspect` and the writer raise.
    """
    if declared is not None and declared > limit:
        raise _too_large(limit, f"The plan of {declared} bytes")
    uploads.in_progress += 1
    opening = asyncio.ensure_future(UPLOADS.run(open_writer))
    try:
        writer = await asyncio.shield(opening)
        blocks = _blocks(within(body, limit, _too_large))
        block: list[bytes] = await anext(blocks, [])
        found = await inspect(b"".join(block))
        received = 0
        while block:
            size = sum(map(len, block))
            received += size
            uploads.received_bytes += size
            await UPLOADS.run(writer.write, block)
            block = await anext(blocks, [])
        if declared is not None and received != declared:
            raise InvalidInput(f"{received} bytes of the plan arrived; its Content-Length is {declared}.")
        return await UPLOADS.run(writer.finish), found
    except BaseException:
        await asyncio.shield(_discard(opening))
        raise
    finally:
        uploads.in_progress -= 1


async def _discard(opening: asyncio.Future[PlanWriter]) -> None:
    """Discard the writer's file, once the thread that opens it is done."""
    await asyncio.wait((opening,))
    if opening.exception() is None:
        await UPLOADS.run(opening.result().discard)


async def _blocks(body: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """The chunks of a body in lists of about BLOCK_BYTES."""
    size = 0
    block: list[bytes] = []
    async for chunk in body:
        if chunk:
            block.append(chunk)
            size += len(chunk)
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _too_large(limit: int, what: str = "The plan") -> TooLarge:
    return over_limit(f"{what} is", limit, "max-plan-bytes")
