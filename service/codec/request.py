"""An inference request, independent of the body form that it came in."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum

Input = tuple[str, str, list[int], object]
"""Name, datatype, shape and data. The runtime takes a buffer (C-contiguous, little-endian) as data; before
that, it may be a RegionPart to read from, or Unread."""


class Unread(ABC):
    """A tensor's data in the form it was sent in, read once an engine accepts the tensor's name and shape."""

    __slots__ = ()

    @abstractmethod
    def text_bytes(self) -> int:
        """The data's length as sent, in bytes: the time to read it grows with it."""

    @abstractmethod
    def read_bytes(self, datatype: str, shape: list[int]) -> int:
        """At most how many bytes read() makes of the data."""

    @abstractmethod
    def read(self, name: str, datatype: str, shape: list[int]) -> object:
        """The tensor `name` as a buffer. Raises InvalidInput. May be called in another thread."""


LONGEST_NS = 10**18
"""Some thirty years: a longer time makes no difference, and would not fit the 64 bits at the seam."""


HIGH, NORMAL, LOW = 0, 1, 2
"""The priorities, as the runtime takes them."""


class Form(Enum):
    """The form of a request's body, or of its answer."""

    PROTOCOL = "the Open Inference Protocol, JSON alone or with binary tensors"
    SAFETENSORS = "a safetensors file"
    EITHER = "of an answer: a safetensors file, or the protocol's binary form where a file cannot have it"


@dataclass(frozen=True, slots=True)
class RegionPart:
    """A part of a shared memory region that the client registered; offset and size are in bytes."""

    name: str
    offset: int
    byte_size: int


Place = bool | RegionPart
"""Where an output goes: behind the JSON as a blob (True), into it (False), or into shared memory."""

Selected = list[tuple[int, Place]]
"""The outputs of an answer, in its order: their indices among the engine's outputs, and where they go."""


@dataclass(slots=True)
class RequestedOutput:
    name: str
    binary: bool  # True: a blob behind the JSON; False: in the JSON
    region: RegionPart | None = None  # set: into shared memory instead
    classes: int = 0  # so many of its greatest elements instead of the tensor; see codec/classes


@dataclass(slots=True)
class InferRequest:
    inputs: list[Input]
    outputs: list[RequestedOutput] | None = None  # None: all, in the engine's order
    binary_outputs: bool = False  # the default for outputs that do not say
    id: str | None = None  # the client's own; the answer repeats it
    timeout_ns: int | None = None  # at most LONGEST_NS; None: the server's timeout
    priority: int = NORMAL
    answer: Form = Form.PROTOCOL
    shared: bool = False  # an input or an output is in shared memory
    unread: bool = False  # an input is Unread, and long

    @property
    def classified(self) -> bool:
        """True if it asks for the classes of an output."""
        return self.outputs is not None and any(output.classes for output in self.outputs)

    @property
    def makes_inputs(self) -> bool:
        """True if inputs take memory besides the body's, or outputs go into shared memory."""
        return self.shared or self.unread

    def again(self, id: str | None) -> "InferRequest":
        """A request that asks for the same, with another id and without inputs."""
        return InferRequest(
            [],
            self.outputs,
            self.binary_outputs,
            id,
            self.timeout_ns,
            self.priority,
            self.answer,
            self.shared,
        )

    def unread_bytes(self) -> int:
        """The length, as sent, of the inputs that are still to be read."""
        return sum([data.text_bytes() for *_, data in self.inputs if isinstance(data, Unread)])

    def read_bytes(self) -> int:
        """At most how many bytes reading the Unread inputs makes."""
        unread = [
            (data, datatype, shape) for _, datatype, shape, data in self.inputs if isinstance(data, Unread)
        ]
        return sum([data.read_bytes(datatype, shape) for data, datatype, shape in unread])
