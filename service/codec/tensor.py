"""Checks for a tensor in any body form: its name, its shape, and how much data they require."""

import math

from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.whole import whole
from trtserve.errors import InvalidInput
from trtserve.text import shown

# Far above what any engine has. They bound what a sentence quotes, and how large a product can get.
NAME_LENGTH = 1024
RANK = 64
TENSORS = 4096  # inputs, or outputs, in a request
MOST_DOCUMENT_BYTES = 524_288  # of JSON without data: orjson takes at most some 10 ms and 12 MB for it
BYTES_LENGTH = 4  # bytes of the length before each element of a BYTES tensor


class Misshapen(InvalidInput):
    """A body whose form is not the protocol's: an example of a request helps its sender most."""


def check_name(what: str, name: object) -> str:
    """The name, if it is valid, else InvalidInput; `what` is the subject of the error sentence."""
    if not isinstance(name, str) or len(name) > NAME_LENGTH:
        raise InvalidInput(
            f"{what} has the name {shown(name)}; it must be a string of at most {NAME_LENGTH} characters."
        )
    return name


def check_tensors(key: str, tensors: int) -> None:
    """Raise InvalidInput if a request has too many `inputs` or `outputs`. Call it before work on each."""
    if tensors > TENSORS:
        raise InvalidInput(f"The request has {tensors} {key}; it must have at most {TENSORS}.")


def check_shape(name: str, shape: object, *, floats: bool = True) -> list[int]:
    """The shape of the tensor `name`, if it is valid, else InvalidInput; true and false are not numbers.

    `floats`: accept 4.0 as 4.
    """
    if isinstance(shape, list) and len(shape) <= RANK:
        if all(type(dim) is int and 0 <= dim < 2**63 for dim in shape):
            return shape
        dims = [dim for dim in map(whole, shape) if dim is not None and 0 <= dim < 2**63]
        if floats and len(dims) == len(shape):
            return dims
    raise InvalidInput(
        f"Tensor {name!r} has the shape {shown(shape)}; it must be a list of whole numbers from 0, "
        f"at most {RANK} of them."
    )


def check_elements(name: str, shape: list[int], elements: int) -> None:
    """Raise InvalidInput unless a tensor's data has as many elements as its shape says."""
    expected = math.prod(shape)
    if elements != expected:
        raise InvalidInput(
            f"Tensor {name!r} has {elements} elements in its data; shape {shape} takes {shown(expected)}."
        )


def check_bytes(name: str, datatype: str, shape: list[int], size: object) -> int:
    """The size in bytes of a tensor's data, if it fits datatype and shape, else InvalidInput."""
    elements = math.prod(shape)
    given = whole(size)
    if datatype in DATATYPES:
        expected = elements * DATATYPES[datatype].size
        if given == expected:
            return expected
        takes = shown(expected)
    else:  # BYTES, whose elements have any length
        least = elements * BYTES_LENGTH
        if given is not None and (given >= least if elements else given == 0):
            return given
        takes = f"{shown(least)} or more" if elements else "0"
    raise InvalidInput(f"Tensor {name!r} has {shown(size)} bytes of data; {datatype} {shape} takes {takes}.")
