"""Inputs that are read from shared memory, and outputs that are written there.

Shared memory is the client's: it may change or go at any time. An input is copied before it is checked any
further, and a region is looked up anew for each use.
"""

import math
from collections.abc import Sequence
from typing import Protocol

from runtime_ext import DATATYPES, Output, TensorSpec
from service.codec import InferRequest, Selected
from service.codec.request import Region, Unread
from service.errors import InvalidInput, TooLarge


class SharedMemory(Protocol):
    """The regions that clients have registered. Every method raises a TrtserveError."""

    def read(self, name: str, offset: int, byte_size: int) -> bytes: ...

    def check(self, name: str, offset: int, byte_size: int) -> None:
        """Whether there is such a part of such a region."""

    def write(self, name: str, offset: int, data: memoryview) -> None: ...


def check_outputs(memory: SharedMemory, selected: Selected, specs: Sequence[TensorSpec]) -> None:
    """Refuse, before anything is executed, what is known not to fit the places that outputs have."""
    for index, place in selected:
        if isinstance(place, Region):
            memory.check(place.name, place.offset, place.byte_size)
            spec = specs[index]
            if spec.shape is not None and all(dim >= 0 for dim in spec.shape):
                size = math.prod(spec.shape) * DATATYPES[spec.datatype]
                _check_room(spec, spec.shape, size, place)


def input_bytes(request: InferRequest, limit: int) -> int:
    """How much the request's inputs have there; TooLarge where that is over the limit of a body."""
    size = sum(data.byte_size for *_, data in request.inputs if isinstance(data, Region))
    if size > limit:
        raise TooLarge(
            f"The request's inputs in shared memory have {size} bytes, over this server's limit of {limit}: "
            "start it with a higher --max-request-bytes (TRTSERVE_MAX_REQUEST_BYTES)."
        )
    return size


def read_inputs(memory: SharedMemory, request: InferRequest) -> tuple[object, ...]:
    """The data of every input, in their order."""
    return tuple([_read(memory, *tensor) for tensor in request.inputs])


def _read(memory: SharedMemory, name: str, datatype: str, shape: list[int], data: object) -> object:
    if isinstance(data, Unread):
        return data.read(name, datatype, shape)
    return memory.read(data.name, data.offset, data.byte_size) if isinstance(data, Region) else data


def write_outputs(memory: SharedMemory, selected: Selected, outputs: Sequence[Output]) -> None:
    """Write the outputs that go there: all of them, or none where one is larger than its place."""
    placed = [(outputs[index], place) for index, place in selected if isinstance(place, Region)]
    for output, place in placed:
        _check_room(output, output.shape, memoryview(output).nbytes, place)
    for output, place in placed:
        memory.write(place.name, place.offset, memoryview(output))


def _check_room(output: Output | TensorSpec, shape: list[int], size: int, place: Region) -> None:
    if size > place.byte_size:
        raise InvalidInput(
            f"Output {output.name!r}, {output.datatype} {shape}, has {size} bytes; the request gives it "
            f"{place.byte_size} bytes of the shared memory region {place.name!r}."
        )
