"""The body of a request as it comes from its client, within bounds."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.errors import BodyStalled, Cancelled, TooLarge
from service.inflight import Share
from service.patience import LEAST_BYTES_S, Patience

if TYPE_CHECKING:
    from service.settings import Settings


def declared(request: Request) -> int | None:
    """The length in bytes that the headers say; None where they do not."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


async def chunks(
    request: Request, what: str = "request", now: Callable[[], float] = time.monotonic
) -> AsyncIterator[bytes]:
    """The body in the pieces that it comes in.

    Cancelled where the client leaves before its end, BodyStalled where it comes too slowly.
    """
    settings: Settings = request.app.state.settings
    patience = Patience(settings.body_timeout_s)
    stream = request.stream()
    try:
        while True:
            begun = now()
            async with asyncio.timeout(patience.left):  # not around what is done with a piece
                chunk = await anext(stream, None)
            if chunk is None:
                return
            if not patience.spend(now() - begun, len(chunk)):
                raise TimeoutError
            yield chunk
    except TimeoutError:
        raise stalled(settings.body_timeout_s, what) from None
    except ClientDisconnect:
        raise Cancelled(f"The client left before the {what} had come whole.") from None


def stalled(seconds: float, what: str = "request") -> BodyStalled:
    """What a body is refused with that came too slowly for so long."""
    return BodyStalled(
        f"The {what} had not come whole, and too little of it came for {seconds:g} s: {LEAST_BYTES_S} bytes "
        "a second are the least. Send it again without such a pause, or start the server with a longer "
        "--body-timeout-s (TRTSERVE_BODY_TIMEOUT_S)."
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
