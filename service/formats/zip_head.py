"""What the beginning of a zip file tells (Source: PKWARE's APPNOTE 6.3.10, 4.3.7)."""

import struct
from collections.abc import Iterator

ZIP_HEADER = b"PK\x03\x04"
ZIP_HEADER_BYTES = 30  # up to the name
ZIP_NAME_BYTES = 256  # the rest of a name does not matter
MOST_NAMES = 16_384  # who looks at them holds up the event loop


def zip_names(head: bytes) -> Iterator[tuple[str, int]]:
    """The first names in the local headers that lie within `head`, cut to ZIP_NAME_BYTES, and where each
    header begins.

    Each search continues after the previous name: headers inside names, which only a hostile file has,
    would make this quadratic.
    """
    header = head.find(ZIP_HEADER)
    for _ in range(MOST_NAMES):
        if not 0 <= header <= len(head) - ZIP_HEADER_BYTES:
            return
        (length,) = struct.unpack_from("<H", head, header + 26)
        begin = header + ZIP_HEADER_BYTES
        yield head[begin : begin + min(length, ZIP_NAME_BYTES)].decode(errors="replace"), header
        header = head.find(ZIP_HEADER, begin + length)
