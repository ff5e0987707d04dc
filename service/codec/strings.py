"""BYTES tensors: strings in JSON; in the binary form, each element's length, then its bytes.

Source: Triton's "Binary Tensor Data Extension". The length is an unsigned 32-bit little-endian integer; the
elements are in row-major order with nothing between them. The runtime checks an input in this form.
"""

from collections.abc import Iterable, Iterator

import orjson

from trtserve.codec.json_values import as_json, flat
from trtserve.codec.tensor import BYTES_LENGTH
from trtserve.errors import ExecutionFailed, InvalidInput

LONGEST = 2**32 - 1  # bytes of an element


def to_bytes(name: str, shape: list[int], data: object) -> bytes:
    """The strings of a list, flat or nested as `shape` says, in the binary form. Raises InvalidInput."""
    values = flat(name, shape, data)
    for index, value in enumerate(values):
        if type(value) is not str:
            raise InvalidInput(
                f"Tensor {name!r} has {as_json(value)} at element {index} of its data; BYTES takes strings."
            )
    return pack([value.encode() for value in values])


def pack(elements: Iterable[bytes]) -> bytes:
    """The elements in the binary form. Raises InvalidInput for one that is too long for it."""
    parts: list[bytes] = []
    for element in elements:
        if len(element) > LONGEST:
            raise InvalidInput(f"A string has {len(element)} bytes; at most {LONGEST} are allowed.")
        parts += (len(element).to_bytes(BYTES_LENGTH, "little"), element)
    return b"".join(parts)


def to_list(name: str, data: memoryview) -> list[str]:
    """The elements of an output as a flat list of strings. Raises InvalidInput and ExecutionFailed."""
    try:
        elements = [bytes(element) for element in _elements(data)]
    except ValueError as failure:
        raise ExecutionFailed(f"The engine returned a bad output {name!r}: an element {failure}.") from None
    try:
        return [element.decode() for element in elements]
    except UnicodeDecodeError:
        raise InvalidInput(
            f"Output {name!r} has bytes that are not UTF-8 text, so JSON cannot hold them; ask for it with "
            "the parameter binary_data."
        ) from None


def to_json(name: str, data: memoryview) -> bytes:
    """The elements of an output as a flat JSON list of strings. Raises as to_list() does."""
    return orjson.dumps(to_list(name, data))


def _elements(data: memoryview) -> Iterator[memoryview]:
    """Views on the elements. Raises ValueError, which says what is wrong with the next element."""
    begin = 0
    while begin < len(data):
        text = begin + BYTES_LENGTH
        if text > len(data):
            raise ValueError(f"has {len(data) - begin} of the {BYTES_LENGTH} bytes of its length")
        length = int.from_bytes(data[begin:text], "little")
        if length > len(data) - text:
            raise ValueError(f"is {length} bytes long, and {len(data) - text} are left")
        begin = text + length
        yield data[text:begin]
