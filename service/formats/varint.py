"""Whole numbers as protobuf writes them: 7 bits a byte, the lowest first. Source: protobuf's "Encoding"."""

LONGEST = 10  # bytes: 64 bits


def read(data: bytes, at: int, most: int = LONGEST) -> tuple[int, int]:
    """The number in at most `most` bytes from `at`, and where the next byte is.

    -1 and `at` if it continues beyond these bytes, or beyond the data.
    """
    number = 0
    for place, byte in enumerate(data[at : at + most]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    return -1, at


def write(number: int) -> bytes:
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
