"""The body of a request as it comes from its client, within bounds."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.errors import BodyStalled, Cancelled, TooLarge
from service.inflight import Share

if TYPE_CHECKING:
    from service.settings import Settings


def declared(request: Request) -> int | None:
    """The length in bytes that the headers say; None where they do not."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


async def chunks(request: Request, what: str = "request") -> AsyncIterator[bytes]:
    """The body in the pieces that it comes in.

    Cancelled where the client leaves before its end, BodyStalled where it sends nothing for too long.
    """
    settings: Settings = request.app.state.settings
    stream = request.stream()
    try:
        while True:
            async with asyncio.timeout(settings.body_timeout_s):  # not around what is done with a piece
                chunk = await anext(stream, None)
            if chunk is None:
                return
            yield chunk
    except TimeoutError:
        raise stalled(settings.body_timeout_s, what) from None
    except ClientDisconnect:
        raise Cancelled(f"The client left before the {what} had come whole.") from None


def stalled(seconds: float, what: str = "request") -> BodyStalled:
    """What a body is refused with of which nothing came for so long."""
    return BodyStalled(
        f"Nothing more of the {what} came for {seconds:g} s, and it had not come whole. Send it again "
        "without such a pause, or start the server with a longer --body-timeout-s (TRTSERVE_BODY_TIMEOUT_S)."
    )


async def within(
    pieces: AsyncIterator[bytes], limit: int, too_large: Callable[[int], TooLarge]
) -> AsyncIterator[bytes]:
    """The same pieces; `too_large(limit)` as soon as they are known to be over the limit in bytes."""
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        yield piece


async def joined(pieces: AsyncIterator[bytes], share: Share | None) -> memoryview:
    """The whole of a body, which `share` grows with; Unavailable as soon as it cannot."""
    whole = bytearray()
    async for piece in pieces:
        if share is not None:
            share.grow_to(len(whole) + len(piece))
        whole += piece
    return memoryview(whole)
