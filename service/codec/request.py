"""An inference request as every body form gives it, free of how it came."""

from dataclasses import dataclass
from enum import Enum

Input = tuple[str, str, list[int], object]
"""Name, datatype, shape, data (a buffer, C-contiguous and little-endian): what the runtime takes; or a Region
where the data is still to be read from there."""

LONGEST_NS = 10**18
"""Some thirty years: a longer time is no other, and would not fit the 64 bits that the seam has for it."""


HIGH, NORMAL, LOW = 0, 1, 2
"""The priorities, as the runtime takes them."""


class Form(Enum):
    """What a body is, and what its answer is to be."""

    PROTOCOL = "the Open Inference Protocol, JSON alone or with binary tensors"
    SAFETENSORS = "a safetensors file"


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a shared memory region that the client has registered; the numbers are bytes."""

    name: str
    offset: int
    byte_size: int


Place = bool | Region
"""Where an output goes: behind the JSON as a blob (True), into it (False), or into shared memory."""

Selected = list[tuple[int, Place]]
"""The outputs of an answer in its order: their indices among the engine's, and where they go."""


@dataclass(slots=True)
class RequestedOutput:
    name: str
    binary: bool  # as a blob behind the JSON, not in it
    region: Region | None = None  # into shared memory, neither in the JSON nor behind it


@dataclass(slots=True)
class InferRequest:
    inputs: list[Input]
    outputs: list[RequestedOutput] | None = None  # None: all, in the engine's order
    binary_outputs: bool = False  # for outputs that are not listed one by one
    id: str | None = None  # the client's own; echoed
    timeout_ns: int | None = None  # at most LONGEST_NS; None: the server's
    priority: int = NORMAL
    answer: Form = Form.PROTOCOL
    shared: bool = False  # an input lies in shared memory, or an output is to
