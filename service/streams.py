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


def over_limit(what: str, limit: int, option: str, how: str = "") -> TooLarge:
    """What is refused with more bytes than an option of the server allows, counted as `how` says."""
    variable = f"TRTSERVE_{option.upper().replace('-', '_')}"
    return TooLarge(
        f"{what} over this server's limit of {limit} bytes{how}: start it with a higher --{option} "
        f"({variable})."
    )
