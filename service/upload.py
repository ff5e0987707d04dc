"""Takes in the body of an upload: to disk and hashed while it arrives, looked at as soon as it begins."""

import asyncio
from collections.abc import AsyncIterator, Callable

from service.errors import InvalidInput, TooLarge
from service.staging import PlanWriter, StagedPlan

BLOCK_BYTES = 4 * 1024**2  # handed to a worker thread at once: a thread's switch costs more than a chunk


async def receive_plan(
    body: AsyncIterator[bytes],
    *,
    open_writer: Callable[[], PlanWriter],
    inspect: Callable[[bytes], None],
    limit: int,
    declared: int | None,
) -> StagedPlan:
    """Stage a plan. `limit` and `declared` (the Content-Length, if there was one) are in bytes.

    `inspect` gets the first block and may refuse it: a wrong file is not taken in whole. However this
    fails, and the client's leaving is one way, nothing stays on disk.
    """
    if declared is not None and declared > limit:
        raise TooLarge(_over_limit(f"The plan of {declared} bytes", limit))
    writer = await asyncio.to_thread(open_writer)
    try:
        received = 0
        async for block in _blocks(body, limit):
            if received == 0:
                inspect(b"".join(block))
            received += sum(map(len, block))
            await asyncio.to_thread(writer.write, block)
        if received == 0:
            inspect(b"")
        if declared is not None and received != declared:
            raise InvalidInput(f"{received} bytes of the plan came, but its Content-Length is {declared}.")
        return await asyncio.to_thread(writer.finish)
    except BaseException:
        await asyncio.shield(asyncio.to_thread(writer.discard))
        raise


async def _blocks(body: AsyncIterator[bytes], limit: int) -> AsyncIterator[list[bytes]]:
    """The chunks of a body in lists of about BLOCK_BYTES; TooLarge as soon as it is over the limit."""
    received = size = 0
    block: list[bytes] = []
    async for chunk in body:
        received += len(chunk)
        if received > limit:
            raise TooLarge(_over_limit("The plan", limit))
        if chunk:
            block.append(chunk)
            size += len(chunk)
        if size >= BLOCK_BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _over_limit(what: str, limit: int) -> str:
    return (
        f"{what} is over this server's limit of {limit} bytes: "
        "start it with a higher --max-plan-bytes (TRTSERVE_MAX_PLAN_BYTES)."
    )
