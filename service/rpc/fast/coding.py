"""Messages that a client has compressed."""

import zlib

from trtserve.errors import InvalidInput, TooLarge, Unsupported

WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}
"""By coding, what zlib needs to read it. The deflate of HTTP and gRPC is zlib's format."""


def decompressed(message: memoryview, coding: str, most: int) -> bytes:
    """The message, of at most `most` bytes. Raises InvalidInput, TooLarge and Unsupported."""
    bits = WINDOW_BITS.get(coding)
    if bits is None:
        if coding in ("", "identity"):
            raise InvalidInput("The message is compressed, and the call's grpc-encoding does not say how.")
        raise Unsupported(f"This server cannot read the grpc-encoding {coding[:32]!r}; send gzip or deflate.")
    reader = zlib.decompressobj(bits)
    try:
        read = reader.decompress(message, most + 1)
    except zlib.error:
        raise InvalidInput(f"The message is not valid {coding}.") from None
    if len(read) > most:
        raise too_large("at least", most + 1, most)
    if not reader.eof or reader.unused_data:
        raise InvalidInput(f"The message is not one whole {coding} stream.")
    return read


def too_large(least: str, size: int, most: int) -> TooLarge:
    return TooLarge(
        f"The message has {least + ' ' if least else ''}{size} bytes; this server accepts at most {most}, "
        "--grpc-max-message-bytes (TRTSERVE_GRPC_MAX_MESSAGE_BYTES)."
    )
