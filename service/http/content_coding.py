"""Compressed bodies: the coding of a request, the coding of its answer, and zlib for both.

Large bodies go through zlib in a thread, in steps, so that they do not block the event loop.
Source: RFC 9110, sections 8.4.1 and 12.5.3. `deflate` there is the zlib format (RFC 1950), not bare deflate.
"""

import re
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from trtserve.codec import Body
from trtserve.errors import InvalidInput, UnsupportedMedia
from trtserve.text import shown
from trtserve.workers import CODINGS

WINDOW = {"gzip": 31, "deflate": 15}  # zlib's `wbits`, which also select the format
LEVEL = 1  # a higher level hardly makes tensors smaller
LEAST_BYTES = 1024  # a shorter answer is not compressed
HERE_BYTES = 65_536  # processed on the event loop; the rest goes to a thread
FEED_BYTES = 65_536
STEP_BYTES = 1_048_576  # output of one step in a thread

Answer = tuple[bytes, dict[str, str]]
"""A body and its headers."""

QUALITY = re.compile(r"\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*")


def body_coding(headers: Mapping[str, str]) -> str | None:
    """The coding of a request's body, or None. Raises UnsupportedMedia."""
    coding = _named(headers)
    if coding is None:
        return None
    if "," in coding:
        raise UnsupportedMedia(f"The body's Content-Encoding is {shown(coding)}; compress it once.")
    if coding not in WINDOW:
        raise UnsupportedMedia(
            f"The body's Content-Encoding is {shown(coding)}; send it with gzip or deflate, or as it is."
        )
    return coding


def check_plain(headers: Mapping[str, str]) -> None:
    """Raise UnsupportedMedia if the body has a coding: only inference requests may."""
    coding = _named(headers)
    if coding is not None:
        raise UnsupportedMedia(f"The body's Content-Encoding is {shown(coding)}; send it as it is.")


def answer_coding(headers: Mapping[str, str]) -> str | None:
    """The coding that a client wants for the answer; None if it names none, or prefers none.

    `*` does not ask for a coding: it says what is acceptable, not what is preferred.
    """
    wanted: dict[str, float] = {}
    for item in headers.get("accept-encoding", "").lower().split(","):
        coding, semicolon, parameter = item.partition(";")
        quality = QUALITY.fullmatch(parameter) if semicolon else None
        if quality is not None or not semicolon:  # a coding with an unreadable quality is ignored
            wanted[coding.strip()] = float(quality[1]) if quality else 1.0
    best = max(WINDOW, key=lambda coding: wanted.get(coding, 0.0))  # gzip if they are equal
    quality_of_best = wanted.get(best, 0.0)
    asked = quality_of_best > 0 and quality_of_best >= wanted.get("identity", 0.0)
    return best if asked else None


def _named(headers: Mapping[str, str]) -> str | None:
    coding = headers.get("content-encoding", "identity").strip().lower()
    return None if coding == "identity" else coding


class Decompressor:
    """Decompresses one stream piece by piece. Safe to use from one thread at a time."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._stream = zlib.decompressobj(WINDOW[coding])
        self._input: bytes | memoryview = b""

    def feed(self, piece: bytes | memoryview) -> None:
        """Add the next piece. Call it once take() has returned everything from the previous one."""
        self._input = piece

    def take(self, most: int) -> bytes:
        """At most `most` of the next bytes; empty: feed the next piece. Raises InvalidInput."""
        taken, rest = b"", self._input
        if not self._stream.eof:
            try:
                taken = self._stream.decompress(rest, most)
            except zlib.error as error:
                wrapper = ", with its zlib header" if self._coding == "deflate" else ""
                raise InvalidInput(
                    f"The body is not what its Content-Encoding says, {self._coding}{wrapper}: {error}."
                ) from None
            rest = self._stream.unused_data if self._stream.eof else self._stream.unconsumed_tail
        if self._stream.eof and rest:
            raise InvalidInput(f"The body has bytes behind the end of its {self._coding} stream.")
        self._input = rest
        return taken

    def finish(self) -> None:
        """Raise InvalidInput unless the stream is complete."""
        if not self._stream.eof:
            raise InvalidInput(f"The body ends before its {self._coding} stream does.")


def compress(parts: Iterable[bytes | memoryview], coding: str) -> bytes:
    stream = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW[coding])
    return b"".join([*(stream.compress(part) for part in parts), stream.flush()])


async def decompressed(pieces: AsyncIterator[bytes], coding: str) -> AsyncIterator[bytes]:
    """The content of a compressed body, in pieces of bounded size. Raises InvalidInput if it is broken."""
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
    """An answer and its headers in the coding that its client wants; unchanged if that saves nothing."""
    if is_short(parts):
        return compressed_here(parts, headers, coding)
    return await CODINGS.run(compressed_here, parts, headers, coding)


def is_short(parts: Sequence[Body]) -> bool:
    """True if an answer is short enough to compress on the event loop."""
    return sum(map(len, parts)) <= HERE_BYTES


def compressed_here(parts: Sequence[Body], headers: dict[str, str], coding: str) -> Answer:
    """Like compressed(), but on the calling thread: for short answers."""
    headers = headers | {"Vary": "Accept-Encoding"}
    size = sum(map(len, parts))
    if size < LEAST_BYTES:
        return b"".join(parts), headers
    body = compress(parts, coding)
    if len(body) >= size:
        return b"".join(parts), headers
    return body, headers | {"Content-Encoding": coding}
