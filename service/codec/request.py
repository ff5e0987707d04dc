"""An inference request as every body form gives it, free of how it came."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

Input = tuple[str, str, list[int], object]
"""Name, datatype, shape, data (a buffer, C-contiguous and little-endian): what the runtime takes; or, where
the data is still to be read, a RegionPart or Unread."""


class Unread(ABC):
    """A tensor's data as it was written, to be read once an engine has taken the tensor's name and shape."""

    __slots__ = ()

    @abstractmethod
    def text_bytes(self) -> int:
        """How long it is as it was written: reading it takes as long."""

    @abstractmethod
    def read_bytes(self, datatype: str, shape: list[int]) -> int:
        """How many bytes read() makes of it, at most."""

    @abstractmethod
    def read(self, name: str, datatype: str, shape: list[int]) -> object:
        """The tensor `name` as a buffer. Raises InvalidInput. May be called in another thread."""


LONGEST_NS = 10**18
"""Some thirty years: a longer time is no other, and would not fit the 64 bits that the seam has for it."""


HIGH, NORMAL, LOW = 0, 1, 2
"""The priorities, as the runtime takes them."""


class Form(Enum):
    """What a body is, and what its answer is to be."""

    PROTOCOL = "the Open Inference Protocol, JSON alone or with binary tensors"
    SAFETENSORS = "a safetensors file"


@dataclass(frozen=True, slots=True)
class RegionPart:
    """A part of a shared memory region that the client has registered; the numbers are bytes."""

    name: str
    offset: int
    byte_size: int


Place = bool | RegionPart
"""Where an output goes: behind the JSON as a blob (True), into it (False), or into shared memory."""

Selected = list[tuple[int, Place]]
"""The outputs of an answer in its order: their indices among the engine's, and where they go."""


@dataclass(slots=True)
class RequestedOutput:
    name: str
    binary: bool  # as a blob behind the JSON, not in it
    region: RegionPart | None = None  # into shared memory, neither in the JSON nor behind it


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
    unread: bool = False  # an input is Unread, and long

    @property
    def makes_inputs(self) -> bool:
        """Whether inputs take memory besides the body's, or outputs go into shared memory."""
        return self.shared or self.unread

    def unread_bytes(self) -> int:
        """How long the inputs are, as they were written, that are still to be read."""
        return sum([data.text_bytes() for *_, data in self.inputs if isinstance(data, Unread)])

    def read_bytes(self) -> int:
        """How many bytes are made of them, at most."""
        unread = [
            (data, datatype, shape) for _, datatype, shape, data in self.inputs if isinstance(data, Unread)
        ]
        return sum([data.read_bytes(datatype, shape) for data, datatype, shape in unread])
