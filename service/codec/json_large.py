"""Large JSON bodies: C++ reads the numbers of a tensor straight into its memory, never as Python objects.

The lists of numbers are cut out of the document first. What is left is short in any request that makes sense,
so it has a bound; it is read like any JSON, with a mark in place of each list.
"""

import math
from typing import Any

import numpy as np

from runtime_ext import find_number_lists, read_number_list
from trtserve.codec import json_cut
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.json_values import Array, narrowed, refusal
from trtserve.codec.request import Unread
from trtserve.codec.tensor import TENSORS, check_elements
from trtserve.codec.whole import MOST_EXACT
from trtserve.errors import InvalidInput

LEAST_BYTES = 16_384  # of a document; a shorter one is not worth it
LEAST_LIST = 256  # characters; a shorter list is not cut out
TOO_LONG = (
    "The request's JSON has {size} bytes besides the numbers of its inputs; this server reads at most {most}."
    " Put data into the list `data` of an input, or behind the JSON in the binary form."
)
NONE = np.empty(0, np.float64)


class NumberList(Unread):
    """A list of numbers, as text in a document."""

    __slots__ = ("_begin", "_text")

    def __init__(self, text: memoryview, begin: int) -> None:
        """`begin`: the byte of the document where the text begins."""
        self._text = text
        self._begin = begin

    def text_bytes(self) -> int:
        return len(self._text)

    def read_bytes(self, datatype: str, shape: list[int]) -> int:
        read_as = DATATYPES[datatype].read_as
        if read_as is not None:  # rounding takes about as much memory again
            return 2 * self._most_elements(shape) * DATATYPES[read_as].size
        return self._most_elements(shape) * DATATYPES[datatype].size

    def read(self, name: str, datatype: str, shape: list[int]) -> Array:
        read_as = DATATYPES[datatype].read_as or datatype
        array = np.empty(self._most_elements(shape), DATATYPES[read_as].numpy)
        fault = read_number_list(self._text, shape, read_as, array)
        if fault is not None:
            raise self._refusal(name, datatype, shape, fault)
        return array if read_as == datatype else narrowed(name, datatype, array)

    def check(self) -> None:
        """Raise InvalidInput unless the text is a list of numbers, of any kind."""
        fault = read_number_list(self._text, [], "FP64", NONE)
        if fault is not None and fault[0] == "malformed":
            raise self._malformed(fault[2])

    def _most_elements(self, shape: list[int]) -> int:
        """As many as the shape says, but at most what the text can hold: each has a digit and a comma."""
        return min(math.prod(shape), len(self._text) // 2)

    def _refusal(
        self, name: str, datatype: str, shape: list[int], told: tuple[str, int, int, int]
    ) -> InvalidInput:
        fault, index, begin, end = told
        written = bytes(self._text[begin : min(end, begin + 100)]).decode("ascii", "replace")
        if fault == "malformed":
            return self._malformed(begin)
        if fault == "count":
            check_elements(name, shape, index)
        if fault == "nesting":
            return InvalidInput(
                f"The data of tensor {name!r} is not nested like its shape {shape}: look at depth "
                f"{index}, byte {self._begin + begin} of the body."
            )
        is_float = written[-1:].isdigit() and not written.lstrip("-").isdigit()
        inexact = is_float and abs(float(written)) > MOST_EXACT
        return refusal(name, datatype, index, written, inexact=inexact)

    def _malformed(self, at: int) -> InvalidInput:
        seen = bytes(self._text[at : at + 1]).decode("ascii", "replace")
        return InvalidInput(
            "The body is not JSON, or its data is not a list of numbers (null, NaN and Infinity are not "
            f"numbers): such a list cannot have {seen!r} at byte {self._begin + at}."
        )


def parse(document: bytes | memoryview) -> Any:
    """The parsed document, in which a NumberList replaces each long list of numbers as an input's `data`.

    Raises orjson.JSONDecodeError, InvalidInput, and TooLarge if the rest of the document is too long.
    """
    view = memoryview(document)
    spans = find_number_lists(document, LEAST_LIST, TENSORS + 1)
    if len(spans) > TENSORS:
        raise InvalidInput(f"The request has more than {TENSORS} lists as `data`, the most that it may have.")
    root, found = json_cut.read(view, spans, '"', TOO_LONG)
    lists = {mark: NumberList(view[begin:end], begin) for mark, (begin, end) in found.items()}
    _place(root, lists)
    for unused in lists.values():
        unused.check()
    return root


def _place(root: Any, lists: dict[str, NumberList]) -> None:
    """Replace each mark that is an input's data by its list, and remove that list from `lists`."""
    inputs = root.get("inputs") if isinstance(root, dict) else None
    for tensor in inputs if isinstance(inputs, list) else ():
        data = tensor.get("data") if isinstance(tensor, dict) else None
        if isinstance(data, str) and data in lists:
            tensor["data"] = lists.pop(data)
