"""The parameters of a tensor in shared memory, in a request and in its answer.

Source: Triton's "Shared-Memory Extension". The region's name and a size are required; a missing offset is 0.
An input's size is that of its data; an output's size is the room for it. Both are in bytes.
"""

from typing import Any

from trtserve.codec.request import RegionPart
from trtserve.codec.tensor import check_name
from trtserve.codec.whole import whole
from trtserve.errors import InvalidInput
from trtserve.text import shown

REGION = "shared_memory_region"
BYTE_SIZE = "shared_memory_byte_size"
OFFSET = "shared_memory_offset"


def region(what: str, parameters: dict[str, Any]) -> RegionPart | None:
    """The region that a tensor's parameters name, or None; `what` names the tensor in error sentences."""
    if parameters.keys().isdisjoint((REGION, BYTE_SIZE, OFFSET)):
        return None
    if REGION not in parameters or BYTE_SIZE not in parameters:
        missing = BYTE_SIZE if REGION in parameters else REGION
        raise InvalidInput(f"The parameters of {what} are about shared memory, but have no {missing}.")
    return RegionPart(
        check_name(f"The shared memory region of {what}", parameters[REGION]),
        _bytes(what, OFFSET, parameters.get(OFFSET, 0)),
        _bytes(what, BYTE_SIZE, parameters[BYTE_SIZE]),
    )


def described(place: RegionPart, byte_size: int) -> dict[str, Any]:
    """The parameters of an output in the answer: `byte_size` is its own size, not the size of its place."""
    parameters: dict[str, Any] = {REGION: place.name, BYTE_SIZE: byte_size}
    return parameters | {OFFSET: place.offset} if place.offset else parameters


def _bytes(what: str, key: str, value: object) -> int:
    size = whole(value)
    if size is None or not 0 <= size < 2**63:
        raise InvalidInput(
            f"The parameter {key} of {what} is {shown(value)}; it must be a whole number of bytes from 0."
        )
    return size
