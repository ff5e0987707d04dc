"""BYTES tensors: strings in JSON; in the binary form, each element's length, then its bytes.

Source: Triton's "Binary Tensor Data Extension". The length is an unsigned 32-bit little-endian integer; the
elements are in row-major order with nothing between them. No engine has such an input or output.
"""

import math
from collections.abc import Iterator

from trtserve.codec.json_values import as_json, flat
from trtserve.codec.request import Unread
from trtserve.codec.tensor import BYTES_LENGTH
from trtserve.errors import ExecutionFailed, InvalidInput


class Blob(Unread):
    """A BYTES tensor in the binary form, not yet checked."""

    __slots__ = ("_data",)

    def __init__(self, data: memoryview) -> None:
        self._data = data

    def text_bytes(self) -> int:
        return len(self._data)

    def read_bytes(self, datatype: str, shape: list[int]) -> int:
        return 0

    def read(self, name: str, datatype: str, shape: list[int]) -> memoryview:
        check(name, shape, self._data)
        return self._data


def to_bytes(name: str, shape: list[int], data: object) -> bytes:
    """The strings of a list, flat or nested as `shape` says, in the binary form. Raises InvalidInput."""
    values = flat(name, shape, data)
    for index, value in enumerate(values):
        if type(value) is not str:
            raise InvalidInput(
                f"Tensor {name!r} has {as_json(value)} at element {index} of its data; BYTES takes strings."
            )
    encoded = [value.encode() for value in values]
    return b"".join(len(text).to_bytes(BYTES_LENGTH, "little") + text for text in encoded)


def check(name: str, shape: list[int], data: memoryview) -> None:
    """Raise InvalidInput unless the binary form has exactly as many elements as the shape says."""
    elements = math.prod(shape)
    found = 0
    try:
        for _ in _elements(data):
            found += 1
            if found > elements:
                break
    except ValueError as failure:
        raise InvalidInput(f"Tensor {name!r}, BYTES {shape}: element {found} {failure}.") from None
    if found != elements:
        more = "more than " if found > elements else ""
        count = elements if more else found
        raise InvalidInput(
            f"Tensor {name!r} has {more}{count} elements in its data; BYTES {shape} takes {elements}."
        )


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
