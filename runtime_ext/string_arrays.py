"""BYTES tensors as arrays of bytes objects, for the check of batches."""

import random
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MOST = 65_536  # strings that are made up
LONGEST = 12  # bytes of one
ALPHABETS = (b"abcdefghijklmnopqrstuvwxyz", b"0123456789", b"the quick Brown fox, 7 times. ")
"""A module may take words, numbers or sentences; strings in another form, such as JPEG, it refuses."""

_LENGTH = struct.Struct("<I")


def made_up(numbers: random.Random, dims: Sequence[int], attempt: int) -> Array:
    """Random strings of different lengths, none empty: of other characters with each attempt."""
    array = np.empty(dims, object)
    alphabet = ALPHABETS[attempt]
    for index in range(array.size):
        array.flat[index] = bytes(numbers.choices(alphabet, k=numbers.randint(1, LONGEST)))
    return array


def packed(array: Array) -> bytes:
    """The strings in the protocol's binary form."""
    return b"".join(_LENGTH.pack(len(string)) + string for string in array.flat)


def unpacked(data: memoryview, shape: Sequence[int]) -> Array:
    """The strings of a BYTES tensor in the binary form."""
    array = np.empty(shape, object)
    begin = 0
    for index in range(array.size):
        text = begin + _LENGTH.size
        begin = text + _LENGTH.unpack_from(data, begin)[0]
        array.flat[index] = bytes(data[text:begin])
    return array


def size(array: Array) -> int:
    """The bytes that an array's elements take, those of its strings included."""
    return array.nbytes + (sum(map(len, array.flat)) if array.dtype == object else 0)
