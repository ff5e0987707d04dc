"""Tensors whose elements are fields of their message: InferTensorContents."""

import math
from collections.abc import Sequence

import numpy as np

from runtime_ext import read_contents, read_string_contents
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.json_values import Array
from trtserve.codec.request import Unread
from trtserve.codec.tensor import BYTES_LENGTH, check_elements
from trtserve.errors import InvalidInput

BYTES_CONTENTS = 8  # the number of its field

NAMES = {
    1: "bool_contents",
    2: "int_contents",
    3: "int64_contents",
    4: "uint_contents",
    5: "uint64_contents",
    6: "fp32_contents",
    7: "fp64_contents",
    8: "bytes_contents",
}
"""The fields by number; Datatype.contents says which one holds the elements of a datatype."""


class Contents(Unread):
    """An unparsed InferTensorContents, in parts: protobuf merges a message that is sent more than once."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        self._parts = parts

    def text_bytes(self) -> int:
        return sum(map(len, self._parts))

    def read_bytes(self, datatype: str, shape: list[int]) -> int:
        if datatype not in DATATYPES:  # strings: a copy with their lengths
            return self.text_bytes() + self._most_elements(shape) * BYTES_LENGTH
        return self._most_elements(shape) * DATATYPES[datatype].size

    def read(self, name: str, datatype: str, shape: list[int]) -> Array | memoryview:
        if datatype == "BYTES":
            return self._strings(name, shape)
        known = DATATYPES.get(datatype)
        if known is None or known.contents is None:
            raise InvalidInput(
                f"Tensor {name!r} has the datatype {datatype}, for which contents have no field: "
                "send it in raw_input_contents."
            )
        message = self._whole()
        array = np.empty(self._most_elements(shape), known.numpy)
        count, fault = read_contents(message, known.contents, datatype, array)
        if fault is not None and fault[0] != "element":
            raise _refusal(name, datatype, fault[0] == "other field", NAMES[known.contents], fault[1])
        check_elements(name, shape, count)
        if fault is not None:
            least, greatest = known.integers or (0, 1)
            raise InvalidInput(
                f"Tensor {name!r} has the element {fault[2]}; {datatype} takes {least} to {greatest}."
            )
        return array

    def _strings(self, name: str, shape: list[int]) -> memoryview:
        data = np.empty(self.read_bytes("BYTES", shape), np.uint8)
        count, written, fault = read_string_contents(self._whole(), BYTES_CONTENTS, data)
        if fault is not None:
            raise _refusal(name, "BYTES", fault[0] == "other field", NAMES[BYTES_CONTENTS], fault[1])
        check_elements(name, shape, count)
        return data.data[:written]

    def _whole(self) -> bytes | memoryview:
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def _most_elements(self, shape: list[int]) -> int:
        """As many as the shape says, but at most what the message can hold: each takes at least a byte."""
        return min(math.prod(shape), self.text_bytes())


def _refusal(name: str, datatype: str, other_field: bool, field: str, number: int) -> InvalidInput:
    """`field` is where the data belongs, `number` the field in which it was found."""
    if other_field and number in NAMES:
        return InvalidInput(
            f"Tensor {name!r} has its data in {NAMES[number]}; data of datatype {datatype} "
            f"belongs in {field}."
        )
    return InvalidInput(f"The contents of tensor {name!r} are not an inference.InferTensorContents.")
