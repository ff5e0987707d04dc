"""What crosses the seam, in Python: the value classes of runtime_ext/_C.pyi, for the fake runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from runtime_ext import DATATYPES, Error

PRIORITIES = 3
NORMAL = 1
COPIED_BYTES = 16_384  # up to here Completion.data() is a copy


def error(kind: str, sentence: str, retry_after: float | None = None) -> Error:
    raised = Error(sentence)
    raised.kind = kind
    raised.retry_after = retry_after
    return raised


@dataclass
class ShapeRange:
    min: list[int]
    opt: list[int]
    max: list[int]


@dataclass
class TensorSpec:
    name: str
    datatype: str
    shape: list[int] | None
    profiles: list[ShapeRange] = field(default_factory=list)
    values: list[ShapeRange] = field(default_factory=list)
    location: str = "host"
    format: str = ""


@dataclass
class EngineInfo:
    id: int
    name: str
    backend: str
    device: str
    instances: int
    max_queue_size: int
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    properties: dict[str, str] = field(default_factory=lambda: {"made_by": "the fake runtime"})


@dataclass(kw_only=True)
class BatchOptions:
    max_batch_size: int = 1
    max_queue_delay_us: int = 0
    latency_target_us: int = 10_000
    preferred_batch_sizes: list[int] = field(default_factory=list)
    batch_dims: dict[str, int] = field(default_factory=dict)


@dataclass(kw_only=True)
class LoadOptions:
    name: str = ""
    device: str = "auto"
    instances: int = 0
    max_queue_size: int = 256
    precision: str = "f32"
    threads: int = 0
    cuda_graphs: str = "auto"
    batch: BatchOptions = field(default_factory=BatchOptions)


class Output(bytes):
    """bytes() and memoryview() of it are the tensor's data, as with the real one."""

    name: str
    datatype: str
    shape: list[int]

    @classmethod
    def of(cls, name: str, datatype: str, shape: Sequence[int], data: object) -> Output:
        output = cls(memoryview(data).cast("B"))  # type: ignore[call-overload]
        output.name, output.datatype, output.shape = name, datatype, list(shape)
        return output


@dataclass
class Completion:
    ticket: int
    kind: str | None = None
    message: str = ""
    outputs: list[Output] = field(default_factory=list)
    queue_ns: int = 1_000
    compute_ns: int = 2_000
    batch_requests: int = 0

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(output.shape) for output in self.outputs)

    def data(self, index: int) -> bytes | memoryview:
        output = self.outputs[index]
        return bytes(output) if len(output) <= COPIED_BYTES else memoryview(output)


@dataclass
class Histogram:
    bounds: list[float] = field(default_factory=lambda: [0.001, 0.01, 0.1])
    counts: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    sum: float = 0.0

    def observe(self, value: float = 0.0005) -> None:
        self.counts[sum(bound < value for bound in self.bounds)] += 1
        self.sum += value


@dataclass
class EngineStats:
    id: int
    name: str
    instances: int
    outcomes: dict[str, int] = field(default_factory=dict)
    queue: Histogram = field(default_factory=Histogram)
    compute: Histogram = field(default_factory=Histogram)
    total: Histogram = field(default_factory=Histogram)
    batch: Histogram = field(default_factory=lambda: Histogram([1.0, 2.0, 4.0]))
    counters: dict[str, int] = field(default_factory=dict)
    queue_depth: int = 0
    instances_busy: int = 0

    def count(self, kind: str | None) -> None:
        outcome = kind or "Success"
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        for histogram in (self.queue, self.compute, self.total):
            histogram.observe()


Tensor = tuple[str, str, Sequence[int]]
Input = tuple[str, str, Sequence[int], object]


@dataclass(frozen=True)
class Prepared:
    engine: int
    tensors: tuple[Tensor, ...]  # in the order of prepare()

    def inputs(self, data: object, offset: int) -> list[Input]:
        """The tensors with their data: a tuple of buffers, or one that has them one after the other."""
        if isinstance(data, tuple):
            if len(data) != len(self.tensors):
                raise error("InvalidInput", f"{len(data)} buffers came for {len(self.tensors)} inputs.")
            return [(*tensor, buffer) for tensor, buffer in zip(self.tensors, data, strict=True)]
        inputs = []
        rest = memoryview(data).cast("B")[offset:]  # type: ignore[call-overload]
        for name, datatype, shape in self.tensors:
            size = DATATYPES[datatype] * math.prod(shape)
            if len(rest) < size:
                raise error("InvalidInput", f"Input {name} has {len(rest)} bytes; it takes {size}.")
            inputs.append((name, datatype, shape, rest[:size]))
            rest = rest[size:]
        if rest:
            raise error("InvalidInput", f"{len(rest)} bytes of the data belong to no input.")
        return inputs


def as_fake_options(options: LoadOptions) -> LoadOptions:
    """A copy in the fake's own class, whichever class came: a test compares it field by field."""
    return LoadOptions(
        name=options.name,
        device=options.device,
        instances=options.instances,
        max_queue_size=options.max_queue_size,
        precision=options.precision,
        threads=options.threads,
        cuda_graphs=options.cuda_graphs,
        batch=BatchOptions(
            max_batch_size=options.batch.max_batch_size,
            max_queue_delay_us=options.batch.max_queue_delay_us,
            latency_target_us=options.batch.latency_target_us,
            preferred_batch_sizes=list(options.batch.preferred_batch_sizes),
            batch_dims=dict(options.batch.batch_dims),
        ),
    )
