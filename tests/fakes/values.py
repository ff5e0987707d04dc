"""Python versions of the value classes in runtime_ext/_C.pyi, for the fake runtime."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

from runtime_ext import DATATYPES, Error

PRIORITIES = 3
NORMAL = 1
COPIED_BYTES = 16_384  # up to here Completion.data() is a copy

# Durations in nanoseconds, the same for every request.
QUEUE_NS = 1_000
INPUT_NS, INFER_NS, OUTPUT_NS = 200, 1_500, 300
COMPUTE_NS = INPUT_NS + INFER_NS + OUTPUT_NS
FAILURE_NS = 500


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
    computed_as: str | None = None


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
    max_batch_size: int = 1
    why_not_joined: str = ""
    properties: dict[str, str] = field(default_factory=lambda: {"made_by": "the fake runtime"})
    uses: list[int] = field(default_factory=list)

    @property
    def devices(self) -> list[str]:
        return self.device.split(",")


@dataclass
class ModuleInspection:
    inputs: list[TensorSpec] = field(default_factory=list)
    outputs: list[TensorSpec] = field(default_factory=list)
    engine_ids: list[int] = field(default_factory=list)
    engine_names: list[str] = field(default_factory=list)


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
    compiled: str = ""
    engines: dict[str, int] = field(default_factory=dict)
    tensors: str = ""
    batch: BatchOptions = field(default_factory=BatchOptions)


@dataclass(kw_only=True)
class BuildOptions:
    device: str = "auto"
    precision: str = "auto"
    profiles: Sequence[Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]] = ()
    max_batch_size: int = 1
    workspace_bytes: int = 0
    timing_cache: str = ""
    external_data: bool = False


@dataclass
class BuildProgress:
    fraction: float | None = None
    phase: str = ""


class Output(bytes):
    """An output tensor; bytes() and memoryview() of it are the data, as in the real class."""

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
    queue_ns: int = QUEUE_NS
    compute_ns: int = COMPUTE_NS
    batch_requests: int = 0
    times: tuple[int, int, int, int, int, int] = (0, 0, 0, 0, 0, 0)
    calls: list[tuple[int, str, int, int, str | None]] = field(default_factory=list)

    @property
    def memory(self) -> tuple[int, int]:
        """Identify the batch's memory: one value for all requests if a test sets several per batch."""
        own = self.ticket if self.batch_requests <= 1 else 0
        return own, sum(map(len, self.outputs)) * max(1, self.batch_requests)

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

    def observe(self, value: float) -> None:
        self.counts[sum(bound < value for bound in self.bounds)] += 1
        self.sum += value


@dataclass
class Duration:
    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        self.count += 1
        self.ns += ns


@dataclass
class BatchStats:
    size: int
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass
class EngineStats:
    id: int
    name: str
    instances: int
    outcomes: dict[str, int] = field(default_factory=dict)
    queue: Histogram = field(default_factory=Histogram)
    compute: Histogram = field(default_factory=Histogram)
    total: Histogram = field(default_factory=Histogram)
    failed: Histogram = field(default_factory=Histogram)
    calls: Histogram = field(default_factory=Histogram)
    batch: Histogram = field(default_factory=lambda: Histogram([1.0, 2.0, 4.0]))
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue_time: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    inference_count: int = 0
    execution_count: int = 0
    last_inference_ms: int = 0
    batches: list[BatchStats] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    queue_depth: int = 0
    instances_busy: int = 0
    failed_executions: int = 0
    undivided_batches: int = 0
    executions_stuck: int = 0
    is_own: bool = True
    others: dict[str, EngineStats] = field(default_factory=dict)  # by the names that it was called by

    def called(self, name: str) -> EngineStats:
        if name in {"", self.name}:
            return self
        return self.others.setdefault(name, EngineStats(self.id, name, 0, is_own=False))

    def count(self, kind: str | None) -> None:
        outcome = kind or "Success"
        self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
        if kind is None:
            self._succeeded()
        else:
            self.fail.add(FAILURE_NS)
            self.failed.observe(FAILURE_NS / 1e9)

    def _succeeded(self) -> None:
        """Count an execution of one request with one item."""
        self.queue_time.add(QUEUE_NS)
        self.queue.observe(QUEUE_NS / 1e9)
        self.compute.observe(COMPUTE_NS / 1e9)
        self.success.add(QUEUE_NS + COMPUTE_NS)
        self.total.observe((QUEUE_NS + COMPUTE_NS) / 1e9)
        self.batch.observe(1)
        self.batches = self.batches or [BatchStats(1)]
        for counted in (self, self.batches[0]):
            counted.compute_input.add(INPUT_NS)
            counted.compute_infer.add(INFER_NS)
            counted.compute_output.add(OUTPUT_NS)
        self.inference_count += 1
        self.execution_count += 1
        self.last_inference_ms = time.time_ns() // 1_000_000


@dataclass
class Condition:
    instances: int
    executions_stuck: int = 0
    longest_stuck_seconds: float = 0.0
    joins_requests: bool = False
    requests: int = 0
    leases: int = 0
    unused_seconds: float = 0.0
    last_used_ns: int = 0


Tensor = tuple[str, str, Sequence[int]]
Input = tuple[str, str, Sequence[int], object]


@dataclass(frozen=True)
class Prepared:
    engine: int
    tensors: tuple[Tensor, ...]  # in the order of prepare()
    name: str = ""

    def inputs(self, data: object, offset: int) -> list[Input]:
        """Return the tensors with their data: a tuple of buffers, or one buffer that holds them
        consecutively."""
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
    """Copy the options to the fake's own class, so that a test can compare them field by field."""
    batch = BatchOptions(**{each.name: getattr(options.batch, each.name) for each in fields(BatchOptions)})
    own = {each.name: getattr(options, each.name) for each in fields(LoadOptions)}
    return LoadOptions(**own | {"batch": batch})
