"""Compressed bodies of inference requests and their answers, in steps that do not hold up the event loop."""

from collections.abc import AsyncIterator, Sequence

from service.codec import Body
from service.codec.compression import LEAST_BYTES, Decompressor, compress
from service.workers import CODINGS

Answer = tuple[bytes, dict[str, str]]

HERE_BYTES = 65_536  # that are worked on, on the event loop; what is more, in a thread
FEED_BYTES = 65_536
STEP_BYTES = 1_048_576  # that come of one step in a thread


async def decompressed(pieces: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    """What is in a compressed body, in pieces of bounded size. Raises InvalidInput where it is broken."""
    stream = Decompressor(coding)
    given = 0
    async for piece in pieces:
        view = memoryview(piece)
        for begin in range(0, len(view), FEED_BYTES):
            stream.feed(view[begin : begin + FEED_BYTES])
            while True:
                if given < HERE_BYTES:
                    taken = stream.take(HERE_BYTES)
                else:
                    taken = await CODINGS.run(stream.take, STEP_BYTES)
                if not taken:
                    break
                given += len(taken)
                yield taken
    stream.finish()


async def compressed(parts: Sequence[Body], headers: dict[str, str], coding: str) -> Answer:
    """An answer and its headers, in the coding that its client asks for; as it is where that is no gain."""
    if is_short(parts):
        return compressed_here(parts, headers, coding)
    return await CODINGS.run(compressed_here, parts, headers, coding)


def is_short(parts: Sequence[Body]) -> bool:
    """Whether an answer is short enough to be compressed on the event loop."""
    return sum(map(len, parts)) <= HERE_BYTES


def compressed_here(parts: Sequence[Body], headers: dict[str, str], coding: str) -> Answer:
    """The same, now."""
    headers = headers | {"Vary": "Accept-Encoding"}
    size = sum(map(len, parts))
    if size < LEAST_BYTES:
        return b"".join(parts), headers
    body = compress(parts, coding)
    if len(body) >= size:
        return b"".join(parts), headers
    return body, headers | {"Content-Encoding": coding}
