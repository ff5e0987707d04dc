"""Bodies that arrive in pieces, over HTTP or gRPC."""

from collections.abc import AsyncIterator, Callable

from trtserve.errors import TooLarge


async def within(
    pieces: AsyncIterator[bytes], limit: int, too_large: Callable[[int], TooLarge]
) -> AsyncIterator[bytes]:
    """Pass the pieces on; raise `too_large(limit)` once they exceed `limit` bytes."""
    size = 0
    async for piece in pieces:
        size += len(piece)
        if size > limit:
            raise too_large(limit)
        yield piece
