"""The body of a request as it comes from its client, within bounds."""

from collections.abc import AsyncIterator, Callable

from fastapi import Request
from starlette.requests import ClientDisconnect

from service.errors import Cancelled, TooLarge
from service.inflight import Share


def declared(request: Request) -> int | None:
    """The length in bytes that the headers say; None where they do not."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


async def chunks(request: Request, what: str = "request") -> AsyncIterator[bytes]:
    """The body in the pieces that it comes in. Cancelled where the client leaves before its end."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise Cancelled(f"The client left before the {what} had come whole.") from None


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


async def joined(pieces: AsyncIterator[bytes], share: Share | None) -> bytes:
    """The whole of a body, which `share` grows with; Unavailable as soon as it cannot."""
    kept: list[bytes] = []  # joined and dropped at the end: only there, and of one body at a time, twice
    size = 0
    async for piece in pieces:
        size += len(piece)
        if share is not None:
            share.grow_to(size)
        kept.append(piece)
    return b"".join(kept)
