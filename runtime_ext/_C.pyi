"""The seam: everything that Python may ask of the C++ engine manager, and nothing more."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch

class Error(Exception):
    """A refusal or a failure from C++. `kind` is one of the names in `KINDS`; str() is the sentence."""

    kind: str
    retry_after: float | None
    """Seconds until it is worth the while to try again: of a QueueFull, from how fast the queue drains."""

AUTO_DELAY: Final[int]
"""The `max_queue_delay_us` that adapts itself."""

KINDS: Final[tuple[str, ...]]
"""InvalidInput, NotFound, Conflict, TooLarge, QueueFull, Cancelled, ExecutionFailed, Unsupported,
Unavailable, DeadlineExceeded."""

DATATYPES: Final[dict[str, int]]
"""Open Inference Protocol datatype name -> bytes per element; the datatypes that an engine may use."""

class ShapeRange:
    """The shapes that one profile of an engine takes for one input: each list has one entry a dimension."""

    @property
    def min(self) -> list[int]: ...
    @property
    def opt(self) -> list[int]: ...
    @property
    def max(self) -> list[int]: ...  # -1: no upper bound

class TensorSpec:
    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...
    @property
    def shape(self) -> list[int] | None:
        """-1 for a dynamic dimension; None where even the rank is unknown."""
    @property
    def profiles(self) -> list[ShapeRange]: ...
    @property
    def values(self) -> list[ShapeRange]:
        """For an input whose values decide shapes: the values that each profile takes; else empty."""
    @property
    def location(self) -> str:
        """Where the engine reads or writes it: "device" or "host"."""
    @property
    def format(self) -> str:
        """How it lies in memory, in the backend's words; empty where there is nothing to say."""
    @property
    def computed_as(self) -> str | None:
        """The datatype that the backend computes with in place of `datatype`; None where it keeps that, or
        does not tell. A request with a value that it does not hold ends as InvalidInput."""

class EngineInfo:
    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def instances(self) -> int: ...
    @property
    def max_queue_size(self) -> int: ...
    @property
    def inputs(self) -> list[TensorSpec]: ...
    @property
    def outputs(self) -> list[TensorSpec]: ...
    @property
    def properties(self) -> dict[str, str]:
        """Facts that the backend tells about the engine, by name: for people, not for programs."""

class BatchOptions:
    """How requests are joined into batches, along dimension `batch_dims[tensor]` (0 where it is not named).

    `max_batch_size`: items; 1: each request runs alone. `max_queue_delay_us`: how long a request may wait for
    others; AUTO_DELAY: as long as it pays, within `latency_target_us`. `preferred_batch_sizes` need not wait.
    """

    max_batch_size: int
    max_queue_delay_us: int
    latency_target_us: int
    preferred_batch_sizes: list[int]
    batch_dims: dict[str, int]
    def __init__(
        self,
        *,
        max_batch_size: int = ...,
        max_queue_delay_us: int = ...,
        latency_target_us: int = ...,
        preferred_batch_sizes: Sequence[int] = ...,
        batch_dims: Mapping[str, int] = ...,
    ) -> None: ...

class LoadOptions:
    """How an engine is loaded: the options of core/load_options.h by name; those of `batch` may be given
    beside the others. TypeError for a name or a type that they do not have.

    `instances` 0: the backend chooses. `precision`: f32, f16 or bf16.
    `threads`: CPU threads of all its instances together; 0: one a core. `cuda_graphs`: off, auto or on."""

    name: str
    device: str
    instances: int
    max_queue_size: int
    precision: str
    threads: int
    cuda_graphs: str
    batch: BatchOptions
    def __init__(self, *, batch: BatchOptions = ..., **options: Any) -> None: ...
    def __getattr__(self, option: str) -> Any: ...

class Output:
    """One output tensor: `bytes(output)` or `memoryview(output)` is its C-contiguous little-endian data,
    as unsigned bytes and without a copy."""

    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...
    @property
    def shape(self) -> list[int]: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

class Completion:
    """The one end of a submitted request."""

    @property
    def ticket(self) -> int: ...
    @property
    def kind(self) -> str | None:
        """None for a result, else the kind of failure."""
    @property
    def message(self) -> str: ...
    @property
    def outputs(self) -> list[Output]: ...
    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Of the outputs, in their order."""
    def data(self, index: int) -> bytes | memoryview:
        """The bytes of an output: a copy where it is small, else a view on the outputs of its batch."""
    @property
    def memory(self) -> tuple[int, int]:
        """Of all outputs of the batch, which are there as long as a view on one of them is: what tells them
        from those of other batches, and their bytes."""
    @property
    def queue_ns(self) -> int: ...
    @property
    def compute_ns(self) -> int: ...
    @property
    def batch_requests(self) -> int:
        """How many requests ran in its execution; 0 where it did not run."""

class Histogram:
    """`bounds` are upper bounds, ascending; `counts` has one entry more than `bounds` (the last is the
    overflow) and is not cumulative. Durations are in seconds."""

    @property
    def bounds(self) -> list[float]: ...
    @property
    def counts(self) -> list[int]: ...
    @property
    def sum(self) -> float: ...

class Duration:
    """How often something was timed, and how many nanoseconds it took together: nothing is rounded."""

    @property
    def count(self) -> int: ...
    @property
    def ns(self) -> int: ...

class BatchStats:
    """The executions that had `size` items, each of them counted once, however many requests it had."""

    @property
    def size(self) -> int: ...
    @property
    def compute_input(self) -> Duration: ...
    @property
    def compute_infer(self) -> Duration: ...
    @property
    def compute_output(self) -> Duration: ...

class EngineStats:
    """The numbers of one engine since it was loaded.

    Executions, and times of requests in them, are of those that succeeded: a request of a batch that failed
    counts for the execution that it then had by itself, and the time of the first is queue time. So `queue`,
    `compute` and `total` have one observation for each success, and in nanoseconds success = queue_time +
    compute_input + compute_infer + compute_output. All is of one moment but `counters`, `queue_depth` and
    `instances_busy`.
    """

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def outcomes(self) -> dict[str, int]:
        """Requests by end: "Success" or a kind. Refusals at submit count too."""
    @property
    def queue(self) -> Histogram:
        """`queue_time` as a histogram."""
    @property
    def compute(self) -> Histogram:
        """The execution, of each request in it; the phases together."""
    @property
    def total(self) -> Histogram:
        """`success` as a histogram."""
    @property
    def failed(self) -> Histogram:
        """`fail` as a histogram."""
    @property
    def batch(self) -> Histogram:
        """Items of an execution; one observation an execution."""
    @property
    def success(self) -> Duration:
        """Requests that succeeded, from arrival to completion."""
    @property
    def fail(self) -> Duration:
        """Requests that failed, from arrival to completion, whether they ran or not; refusals, in no time."""
    @property
    def queue_time(self) -> Duration:
        """From arrival to the start of the execution."""
    @property
    def compute_input(self) -> Duration:
        """Joining the inputs; on a GPU up to where their copies are enqueued."""
    @property
    def compute_infer(self) -> Duration:
        """The engine; on a GPU up to where its work is enqueued, not until it is done."""
    @property
    def compute_output(self) -> Duration:
        """Bringing the outputs to the host and dividing them; on a GPU with the wait for all that was
        enqueued before, so that most of its time is here."""
    @property
    def inference_count(self) -> int:
        """Items of all executions together; where the engine does not batch, a request is one item."""
    @property
    def execution_count(self) -> int: ...
    @property
    def last_inference_ms(self) -> int:
        """When the last execution ended, in milliseconds since 1970 by the wall clock; 0: none has."""
    @property
    def batches(self) -> list[BatchStats]:
        """Executions by number of items, ascending. The first 256 sizes are told apart; each other is counted
        as the next power of two."""
    @property
    def counters(self) -> dict[str, int]:
        """The backend's numbers by name; those that end in _bytes are gauges, the others only grow."""
    @property
    def queue_depth(self) -> int: ...
    @property
    def instances(self) -> int: ...
    @property
    def instances_busy(self) -> int:
        """Instances that execute, or wait for their turn on the device."""
    @property
    def failed_executions(self) -> int:
        """Executions that failed, but for those of which a request's own input was at fault."""
    @property
    def undivided_batches(self) -> int:
        """Batches whose outputs had no item for each that went in: their requests were run one by one."""
    @property
    def executions_stuck(self) -> int:
        """Executions that have taken `stuck_after_s` and have not ended."""

class Condition:
    """How an engine is doing now."""

    @property
    def instances(self) -> int: ...
    @property
    def executions_stuck(self) -> int:
        """Executions that have taken `stuck_after_s` and have not ended; each keeps an instance."""
    @property
    def longest_stuck_seconds(self) -> float:
        """How long the longest of them has taken; 0 where none is stuck."""
    @property
    def joins_requests(self) -> bool:
        """False where the options do not ask for it, and once a few batches could not be divided."""

class ManualClock:
    """A clock for tests that stands still until it is told otherwise; with `tick_ns` it moves on by that much
    whenever the runtime has looked at it. Its wall clock begins with 1970."""

    def __init__(self, *, tick_ns: int = ...) -> None: ...
    def advance(self, ns: int) -> None: ...

class Prepared:
    """A request but for its data."""

    @property
    def engine(self) -> int: ...

class Runtime:
    """The engine manager, the scheduler and the completion queue of this process: one at a time.

    Methods marked "blocks" release the GIL and may take long: call them off the event loop.
    Every method raises `Error`.
    """

    def __init__(self, *, clock: ManualClock | None = None, stuck_after_s: float = 60.0) -> None:
        """An execution that has not ended after `stuck_after_s` is said to be stuck."""
    def register_backend(
        self, name: str, plugin: str, libraries: Sequence[str] = ..., config: Mapping[str, str] = ...
    ) -> None:
        """Make `plugin` (path of a plugin library) the backend `name`. It is opened on first need,
        after `libraries` (paths of shared libraries that it links to), and given `config`."""
    def backends(self) -> list[str]:
        """Names of the registered backends."""
    def backend_version(self, name: str) -> str:
        """Blocks. Open the backend and say its version; Unavailable with the reason where it cannot."""
    def load(self, id: int, plan: str, backend: str, options: LoadOptions) -> EngineInfo:
        """Blocks. Deserialize the plan file, build the wrapper, start the instances."""
    def unload(self, id: int, drain_seconds: float = ...) -> None:
        """Blocks. Refuse new requests, finish the accepted ones for up to `drain_seconds`, complete the
        rest as Unavailable, and release the engine. What has not ended by then is interrupted and left
        behind: it keeps its thread and memory until it ends. NotFound for an unknown ID."""
    def engines(self) -> list[EngineInfo]: ...
    def engine(self, id: int) -> EngineInfo: ...
    def graph(self, id: int) -> str:
        """The wrapper's graph as text."""
    def layers(self, id: int) -> str:
        """Blocks. What an engine inspector tells of the layers, as JSON; Unsupported where there is none."""
    def dead_devices(self) -> dict[str, str]:
        """Devices that a sticky error has made useless, and why; their engines are Unavailable."""
    def module_bytes(self, id: int) -> bytes:
        """Blocks. A TorchScript file with the wrapper, written with the typed operator."""
    def script_module(self, id: int) -> torch.ScriptModule:
        """The wrapper, whose graph calls `trt::execute_engine`; see runtime_ext.module."""
    def prepare(self, id: int, tensors: Sequence[tuple[str, str, Sequence[int]]]) -> Prepared:
        """Check what requests say of their inputs, (name, datatype, shape) in any order, once for all that
        are alike. Stays of use for as long as the engine is loaded."""
    def submit(
        self,
        prepared: Prepared,
        data: object,
        offset: int = ...,
        timeout_ns: int | None = ...,
        priority: int = ...,
    ) -> int:
        """Queue one request; returns its ticket at once.

        `data`: a tuple with a buffer for each tensor, in the order of prepare(); or one buffer that has them
        one after the other from `offset` to its end. Buffers are C-contiguous, little-endian, exactly as long
        as shape and datatype say, of any alignment, and are kept (not copied) until the request's completion
        has been taken, and an execution that reads them has ended. `timeout_ns`: a request that has no
        answer by then ends as DeadlineExceeded, also while it executes.
        `priority`: 0 (high), 1 or 2 (low).
        """
    def cancel(self, id: int, ticket: int) -> bool:
        """Take a request out of the queue: it ends as Cancelled. False when it has started or ended."""
    def completion_fd(self) -> int:
        """An eventfd, readable while completions wait to be taken."""
    def take_completions(self) -> list[Completion]:
        """Every completion since the last call; never blocks."""
    def stats(self) -> list[EngineStats]: ...
    def condition(self, id: int) -> Condition:
        """NotFound for an unknown ID."""
    def left_behind(self) -> tuple[int, int]:
        """How many instances unloads have left behind, each with an execution that had not ended; and how
        many of them have not ended yet."""
    def close(self) -> None:
        """Blocks. Unload everything, stop every thread but those that are left behind. Completions can
        still be taken afterwards."""

class LogRecord:
    """What a library below the seam said."""

    @property
    def severity(self) -> str:
        """debug, info, warning or error."""
    @property
    def component(self) -> str:
        """Who speaks, for example "tensorrt"."""
    @property
    def message(self) -> str: ...

def log_fd() -> int:
    """An eventfd, readable while log records wait."""

def take_log() -> list[LogRecord]:
    """Every log record since the last call; never blocks."""

def engine_info(id: int) -> EngineInfo:
    """The engine `id` of the current runtime: for the fake kernel of the typed operator."""

Buffer = bytes | bytearray | memoryview | np.ndarray[Any, Any]

def find_number_lists(document: Buffer, least: int, most: int) -> list[tuple[int, int]]:
    """Where the lists of numbers lie that are the values of a key "data" in a JSON document and have at least
    `least` characters: begin and end of each, of `most` at most.

    That these are lists of numbers is only known once read_number_list has read them. Releases the GIL.
    """

def find_plain_strings(document: Buffer, least: int) -> list[tuple[int, int]]:
    """Where the strings of a JSON document lie, without their quotes, that have at least so many characters,
    all of them printable ASCII and none of them escaped: begin and end. Releases the GIL.
    """

def read_number_list(
    text: Buffer, shape: Sequence[int], datatype: str, to: Buffer
) -> tuple[str, int, int, int] | None:
    """Read a list of numbers in JSON, flat or nested as `shape` says, into `to`, which is writable.

    Elements beyond the end of `to` are counted only. The fault, if there is one: "malformed", "nesting",
    "count" or "element"; the depth, the number of elements, or the element's index; where in the text that
    is, begin and end. FP16 and BF16 are not read. Releases the GIL.
    """

def read_contents(
    message: Buffer, field: int, datatype: str, to: Buffer
) -> tuple[int, tuple[str, int, int] | None]:
    """Read the elements of one field of a message InferTensorContents into `to`, which is writable.

    The number of elements, of which those beyond the end of `to` are counted only; and the fault, if there is
    one: "malformed", "other field" or "element"; the byte, the other field's number, or the element's index;
    the element. FP16 and BF16 are not read. Releases the GIL.
    """
