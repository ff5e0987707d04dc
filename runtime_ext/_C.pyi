"""The seam: the complete Python interface of the C++ engine manager."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import torch

class Error(Exception):
    """A refusal or a failure from C++. `kind` is one of the names in `KINDS`; str() is the sentence."""

    kind: str
    retry_after: float | None
    """Seconds until a retry makes sense, if known; for a QueueFull, estimated from how fast the queue
    drains."""

AUTO_DELAY: Final[int]
"""The value of `max_queue_delay_us` for an adaptive delay."""

AUTO_BATCH_SIZE: Final[int]
"""The value of `max_batch_size` for an engine that is batched if it can be."""

BESIDE: Final[int]
"""Added to an engine's ID: the place beside it, where its next life is loaded while it serves. Methods of
Runtime that say so take it in place of an ID; see exchange()."""

KINDS: Final[tuple[str, ...]]
"""InvalidInput, NotFound, Conflict, TooLarge, QueueFull, Cancelled, ExecutionFailed, Unsupported,
Unavailable, DeadlineExceeded."""

DATATYPES: Final[dict[str, int]]
"""Open Inference Protocol datatype name -> bytes per element; the datatypes that an engine may use."""

class ShapeRange:
    """The shapes that one profile of an engine accepts for one input: each list has one entry per
    dimension."""

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
        """-1 for a dynamic dimension; None if even the rank is unknown."""
    @property
    def profiles(self) -> list[ShapeRange]: ...
    @property
    def values(self) -> list[ShapeRange]:
        """For an input whose values decide shapes: the values that each profile accepts; otherwise empty."""
    @property
    def location(self) -> str:
        """Where the engine reads or writes it: "device" or "host"."""
    @property
    def format(self) -> str:
        """The memory layout, in the backend's words; may be empty."""
    @property
    def computed_as(self) -> str | None:
        """The datatype that the backend computes with instead of `datatype`; None if it is the same or
        unknown. A request with a value outside its range ends as InvalidInput."""

class EngineInfo:
    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def backend(self) -> str: ...
    @property
    def device(self) -> str:
        """Its devices, with commas between them."""
    @property
    def devices(self) -> list[str]:
        """At least one; the engine has a replica on each."""
    @property
    def instances(self) -> int:
        """On each device."""
    @property
    def max_queue_size(self) -> int: ...
    @property
    def max_batch_size(self) -> int:
        """The most items in a batch; 1: requests are not joined."""
    @property
    def why_not_joined(self) -> str:
        """Why requests are not joined where the options leave it open; otherwise empty."""
    @property
    def inputs(self) -> list[TensorSpec]: ...
    @property
    def outputs(self) -> list[TensorSpec]: ...
    @property
    def uses(self) -> list[int]:
        """IDs of the engines that its executions call, ascending; they cannot be unloaded before it."""
    @property
    def properties(self) -> dict[str, str]:
        """Facts about the engine from the backend, by name: for people, not for programs."""

class ModuleInspection:
    """What a module takes, returns and calls, as it is known before it runs."""

    @property
    def inputs(self) -> list[TensorSpec]: ...
    @property
    def outputs(self) -> list[TensorSpec]: ...
    @property
    def engine_ids(self) -> list[int]:
        """The engines that its graph calls by ID, ascending."""
    @property
    def engine_names(self) -> list[str]:
        """The engines that its graph calls by name, sorted."""

class BatchOptions:
    """How requests are joined into batches, along dimension `batch_dims[tensor]` (0 where not named).

    `max_batch_size`: the most items; 1: each request runs alone; AUTO_BATCH_SIZE: what the profiles take,
    where the tensors can be joined, and a request that fits in no batch runs alone.
    `max_queue_delay_us`: how long a request may wait for others; AUTO_DELAY: as long as waiting pays, within
    `latency_target_us`. Batches of `preferred_batch_sizes` do not wait.
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

    `device`: auto, all, cpu, cuda, cuda:N, or several with commas between them. `instances` on each device;
    0: the backend chooses. `precision`: f32, f16 or bf16.
    `threads`: CPU threads of all its instances together; 0: one per core. `cuda_graphs`: off, auto or on.
    `compiled`: a file of write_compiled() for the same plan, which is not damaged; "": none. One that is for
    other options, another CPU or another version is ignored. Of a TorchScript module, `engines`: the IDs of
    the engines that it calls by name; `tensors`: JSON that describes its inputs and outputs, see
    docs/backends.md; "": the document in its archive."""

    name: str
    device: str
    instances: int
    max_queue_size: int
    precision: str
    threads: int
    cuda_graphs: str
    compiled: str
    engines: dict[str, int]
    tensors: str
    batch: BatchOptions
    def __init__(self, *, batch: BatchOptions = ..., **options: Any) -> None: ...
    def __getattr__(self, option: str) -> Any: ...

class BuildOptions:
    """How a plan is built: the options of core/build_options.h.

    `device`: auto, cuda or cuda:N. `precision`: auto, f32, f16, bf16, int8 or fp8. `profiles`: for each, by
    input, the least, the best and the greatest shape or, for an input whose values decide shapes, values;
    none: one from `max_batch_size`, where the first dimension of each dynamic input is its only dynamic one.
    `workspace_bytes` 0: the backend's default. `timing_cache`: a file that is read if it exists, and written
    after a build; "": none. `external_data`: whether the model may keep data in other files of its folder,
    which its author can then read through the plan.
    """

    device: str
    precision: str
    profiles: Sequence[Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]]
    max_batch_size: int
    workspace_bytes: int
    timing_cache: str
    external_data: bool
    def __init__(
        self,
        *,
        device: str = ...,
        precision: str = ...,
        profiles: Sequence[Mapping[str, tuple[Sequence[int], Sequence[int], Sequence[int]]]] = ...,
        max_batch_size: int = ...,
        workspace_bytes: int = ...,
        timing_cache: str = ...,
        external_data: bool = ...,
    ) -> None: ...

class BuildProgress:
    """How far a build is; any thread may read it."""

    def __init__(self) -> None: ...
    @property
    def fraction(self) -> float | None:
        """0 to 1; None if the library does not tell."""
    @property
    def phase(self) -> str:
        """What the build does now, for people."""

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
    """The one end of a submitted request: outputs, or a kind and a sentence."""

    @property
    def ticket(self) -> int: ...
    @property
    def kind(self) -> str | None:
        """None for a result, otherwise the kind of failure."""
    @property
    def message(self) -> str: ...
    @property
    def outputs(self) -> list[Output]: ...
    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the outputs, in their order."""
    def data(self, index: int) -> bytes | memoryview:
        """The bytes of an output: a copy if it is small, otherwise a view of its batch's outputs."""
    @property
    def memory(self) -> tuple[int, int]:
        """An identifier and the size in bytes of the memory of all outputs of the batch; a view of one output
        keeps all of it."""
    @property
    def queue_ns(self) -> int: ...
    @property
    def compute_ns(self) -> int: ...
    @property
    def batch_requests(self) -> int:
        """How many requests shared its execution; 0 if it did not run."""
    @property
    def times(self) -> tuple[int, int, int, int, int, int]:
        """The number of its execution, which the requests of one batch share; then, in nanoseconds by the
        clock of time.monotonic_ns(), its arrival, and its execution's begin and the ends of its phases: the
        inputs are joined, the engine has returned, the outputs are there. 0 for what did not happen."""
    @property
    def calls(self) -> list[tuple[int, str, int, int, str | None]]:
        """The first 64 calls of engines that a module made in its execution, in the order of their ends:
        the engine's ID and name, begin and end in nanoseconds by the same clock (on a GPU, the end is when
        the work was enqueued), and the kind of failure."""

class Histogram:
    """`bounds` are upper bounds, ascending; `counts` is not cumulative and has one more entry than `bounds`,
    for greater values. Durations are in seconds."""

    @property
    def bounds(self) -> list[float]: ...
    @property
    def counts(self) -> list[int]: ...
    @property
    def sum(self) -> float: ...

class Duration:
    """How often something was timed, and its total time in nanoseconds, without rounding."""

    @property
    def count(self) -> int: ...
    @property
    def ns(self) -> int: ...

class BatchStats:
    """The executions that had `size` items; each counts once, for any number of requests."""

    @property
    def size(self) -> int: ...
    @property
    def compute_input(self) -> Duration: ...
    @property
    def compute_infer(self) -> Duration: ...
    @property
    def compute_output(self) -> Duration: ...

class EngineStats:
    """The numbers of one engine under one of the names that prepare() was told, since it was loaded, and in
    former lives whose counts were kept.

    An execution whose requests called it by several names counts for that of the first, and its items for
    those of their requests: sums over the names are those of the engine. What an engine has only once
    (`calls`, `counters`, `queue_depth`, `instances` and what follows) is in its own.

    Executions, and the times of requests in them, count only if they succeeded: a request whose batch failed
    counts for the execution that it then had alone, and the time of the first is queue time. So `queue`,
    `compute` and `total` have one observation per success, and in nanoseconds success = queue_time +
    compute_input + compute_infer + compute_output. All values are from the same moment, except `counters`,
    `queue_depth` and `instances_busy`.
    """

    @property
    def id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def is_own(self) -> bool:
        """True for the name that it was loaded with at first, which may be empty, and for who gave none."""
    @property
    def outcomes(self) -> dict[str, int]:
        """Requests by outcome: "Success" or a kind. Refusals at submit count too."""
    @property
    def queue(self) -> Histogram:
        """`queue_time` as a histogram."""
    @property
    def compute(self) -> Histogram:
        """The execution (all phases), once per request in it."""
    @property
    def total(self) -> Histogram:
        """`success` as a histogram."""
    @property
    def failed(self) -> Histogram:
        """`fail` as a histogram."""
    @property
    def calls(self) -> Histogram:
        """The executions that operators ran for modules and other code, and not for requests. They have no
        place in what is counted per request, but count in `batch`, `batches`, `inference_count`,
        `execution_count`, `failed_executions` and `last_inference_ms`."""
    @property
    def batch(self) -> Histogram:
        """Items per execution."""
    @property
    def success(self) -> Duration:
        """Requests that succeeded, from arrival to completion."""
    @property
    def fail(self) -> Duration:
        """Requests that failed, from arrival to completion, whether they ran or not; refusals count with
        0."""
    @property
    def queue_time(self) -> Duration:
        """From arrival to the start of the execution."""
    @property
    def compute_input(self) -> Duration:
        """Joining the inputs; on a GPU, until their copies are enqueued."""
    @property
    def compute_infer(self) -> Duration:
        """Running the engine; on a GPU, until its work is enqueued, not until it is done."""
    @property
    def compute_output(self) -> Duration:
        """Copying the outputs to the host and dividing them; on a GPU, includes the wait for all enqueued
        work, and so most of the time."""
    @property
    def inference_count(self) -> int:
        """Items of all executions; if the engine does not batch, a request is one item."""
    @property
    def execution_count(self) -> int: ...
    @property
    def last_inference_ms(self) -> int:
        """When the last execution ended, in milliseconds since 1970 by the wall clock; 0: none yet."""
    @property
    def batches(self) -> list[BatchStats]:
        """Executions by number of items, ascending. The first 256 sizes are counted separately; any other
        counts as the next power of two."""
    @property
    def counters(self) -> dict[str, int]:
        """The backend's numbers by name; names that end in _bytes are gauges, the others are counters."""
    @property
    def queue_depth(self) -> int: ...
    @property
    def instances(self) -> int: ...
    @property
    def instances_busy(self) -> int:
        """Instances that execute or wait for a turn on the device."""
    @property
    def failed_executions(self) -> int:
        """Executions that failed, without those where a request's own input was at fault."""
    @property
    def undivided_batches(self) -> int:
        """Batches whose outputs did not have one item per input item: their requests ran one by one."""
    @property
    def executions_stuck(self) -> int:
        """Executions that have taken `stuck_after_s` and have not ended."""

class Condition:
    """The current condition of an engine."""

    @property
    def instances(self) -> int: ...
    @property
    def executions_stuck(self) -> int:
        """Executions that have taken `stuck_after_s` and have not ended; each occupies an instance."""
    @property
    def longest_stuck_seconds(self) -> float:
        """How long the longest of them has taken, in seconds; 0 if none is stuck."""
    @property
    def joins_requests(self) -> bool:
        """False if the options do not ask for it, or after a few batches could not be divided."""
    @property
    def requests(self) -> int:
        """Accepted requests that have not ended."""
    @property
    def leases(self) -> int:
        """Execution contexts in use, by requests or by operators."""
    @property
    def unused_seconds(self) -> float:
        """How long ago a request was submitted last, or, before the first, the engine was loaded."""
    @property
    def last_used_ns(self) -> int:
        """When that was, by the runtime's clock; it changes with each request."""

class ManualClock:
    """A clock for tests that stands still until advance(); with `tick_ns`, it also moves on by that much
    after each reading by the runtime. Its wall clock starts at 1970."""

    def __init__(self, *, tick_ns: int = ...) -> None: ...
    def advance(self, ns: int) -> None: ...

class FilePart:
    """A part of an open file as the data of an input: the execution reads it, in its own thread.

    `position` and `size` are in bytes; `owner` keeps the descriptor `file` open. If the file cannot be read
    or ends too early, the request fails as Conflict. Raises InvalidInput for a negative number.
    """

    def __init__(self, file: int, position: int, size: int, owner: object) -> None: ...

class Prepared:
    """A checked description of a request's inputs, without data."""

    @property
    def engine(self) -> int: ...

class Runtime:
    """The engine manager, the scheduler and the completion queue of this process: one at a time.

    Methods marked "Blocks" release the GIL and may take long: do not call them on the event loop. Every
    method may raise `Error`.
    """

    def __init__(self, *, clock: ManualClock | None = None, stuck_after_s: float = 60.0) -> None:
        """An execution that has not ended after `stuck_after_s` seconds counts as stuck."""
    def register_backend(
        self, name: str, plugin: str, libraries: Sequence[str] = ..., config: Mapping[str, str] = ...
    ) -> None:
        """Make `plugin` (the path of a plugin library) the backend `name`. It is opened on first need, after
        `libraries` (paths of shared libraries that it links to), with the settings `config`."""
    def backends(self) -> list[str]:
        """Names of the registered backends."""
    def backend_version(self, name: str) -> str:
        """Blocks. Open the backend and return its version; Unavailable with the reason if that fails."""
    def backend_builds(self, backend: str) -> bool:
        """Blocks. True if the backend builds plans. Opens the backend, and the libraries that builds need."""
    def devices_of(self, backend: str, option: str) -> list[str]:
        """Blocks. The devices that the option `device` stands for, each as LoadOptions takes it; opens the
        backend and none of them. InvalidInput or Unsupported for one that there is not."""
    def build(
        self, backend: str, model: str, plan: str, options: BuildOptions, progress: BuildProgress
    ) -> None:
        """Blocks for minutes. Build a plan from the ONNX file `model` and write it to the file `plan`, which
        does not exist if this fails."""
    def inspect_module(self, path: str, tensors: str = ...) -> ModuleInspection:
        """Blocks. Check a TorchScript archive and say what it takes, returns and calls, without running it;
        `tensors` as in LoadOptions. It needs no engine. InvalidInput if the module is at fault."""
    def load(self, id: int, plan: str, backend: str, options: LoadOptions) -> EngineInfo:
        """Blocks. Deserialize the plan file, build the wrapper, start the instances. NotFound if it uses an
        engine that is not loaded. With BESIDE, the engine of this ID goes on serving, and nobody finds the
        new one: warm_up(), write_compiled(), unload(), memory(), engine(), stop_joining() and condition()
        take it by the same number."""
    def warm_up(
        self,
        id: int,
        executions: Sequence[Sequence[tuple[Sequence[int], Sequence[int]]]],
        most_seconds: float,
    ) -> int:
        """Blocks. Run executions whose outputs nobody wants in each execution context, so that no request
        pays for what an engine does only once; return how many ran.

        An execution has a shape for each input, in the engine's order, and the values of an input whose
        values decide shapes; all else is 0. Captures CUDA graphs where the engine may have them. No execution
        begins after `most_seconds`. Does nothing where an execution on the CPU might not end. Raises
        InvalidInput for inputs that the engine does not take, and what an execution raises.
        """
    def write_compiled(self, id: int, path: str) -> bool:
        """Blocks. Write a file with what the load made of the plan, for LoadOptions.compiled of the next one;
        its first 32 bytes are zeros, for the caller's checksum. False if there is nothing to write."""
    def unload(self, id: int, drain_seconds: float = ..., keep_counts: bool = ...) -> None:
        """Blocks. Refuse new requests, finish the accepted ones for up to `drain_seconds`, complete the
        rest as Unavailable, and release the engine: its memory is back when this returns. Executions that
        have not ended by then are interrupted and left behind: they keep their threads and memory until they
        end. With `keep_counts`, what stats() says of the engine stays, and its next load goes on with it.
        NotFound for an unknown ID, Conflict if another engine uses this one."""
    def exchange(self, id: int) -> None:
        """Let an engine and the one beside it change places: requests that are submitted from now on go to
        the other, and operators and modules find it. What was accepted before ends where it is, and counts as
        before: statistics go on. NotFound if one is missing; Conflict if one is being unloaded."""
    def forget(self, id: int) -> None:
        """Drop the counts that an unload has kept."""
    def memory(self, id: int) -> dict[str, dict[str, int]]:
        """The bytes that an engine takes now, by device ("cpu", "cuda:0") and kind.

        Of a GPU: "weights", "contexts" (with scratch memory) and "graphs", as they were allocated, and
        "other", by which the device's free memory shrank during the load beyond that. Of the CPU: what the C
        library's heap grew by during the load, as "weights" and "contexts", or as "host" of an engine on a
        GPU; what others allocated at the same time is in it.
        """
    def device_memory(self, device: str) -> tuple[int, int] | None:
        """Blocks. The free and the total bytes of an accelerator, which this opens; None if there is no such
        device."""
    def engines(self) -> list[EngineInfo]: ...
    def engine(self, id: int) -> EngineInfo: ...
    def graph(self, id: int) -> str:
        """The wrapper's graph as text."""
    def layers(self, id: int) -> str:
        """Blocks. The engine inspector's report on the layers, as JSON; Unsupported if there is no
        inspector."""
    def dead_devices(self) -> dict[str, str]:
        """Devices that a sticky error has made unusable, with the reasons; their engines are Unavailable."""
    def module_bytes(self, id: int) -> bytes:
        """Blocks. A TorchScript file with the wrapper, written with the typed operator."""
    def write_module(self, id: int, plan: str, fd: int) -> None:
        """Blocks. Write such a file with the engine inside to an open descriptor, which may be that of a
        pipe: `plan` is the file that it was loaded from, and is not read into memory. torch.jit.load stands
        the engine up again in a process that has imported this package. Unavailable if a write fails."""
    def script_module(self, id: int) -> torch.ScriptModule:
        """The wrapper, whose graph calls `trt::execute_engine`; see runtime_ext.module."""
    def prepare(
        self, id: int, tensors: Sequence[tuple[str, str, Sequence[int]]], name: str = ...
    ) -> Prepared:
        """Check a description of inputs, (name, datatype, shape) in any order, once for all requests that
        share it. The result is valid while the engine is loaded. `name`: what these requests call the engine,
        and count for; "": its own. The first 64 of an engine are counted apart."""
    def submit(
        self,
        prepared: Prepared,
        data: object,
        offset: int = ...,
        timeout_ns: int | None = ...,
        priority: int = ...,
    ) -> int:
        """Queue one request and return its ticket, without blocking.

        `data`: a tuple with a buffer or FilePart for each tensor, in the order of prepare(); or one
        buffer that holds them consecutively from `offset` to its end. Buffers are C-contiguous,
        little-endian, exactly as long as shape and datatype require, and of any alignment. They are kept
        (not copied) until the request's completion has been taken and any execution that reads them has
        ended. `timeout_ns`: a request without an answer by then ends as DeadlineExceeded, even while it
        executes. `priority`: 0 (high), 1 or 2 (low).
        """
    def submit_message(
        self,
        prepared: Prepared,
        message: GrpcMessage,
        timeout_ns: int | None = ...,
        priority: int = ...,
    ) -> int:
        """Like submit(), with the raw contents of a message as data, in the order of prepare()."""
    def stop_joining(self, id: int, why: str) -> None:
        """Join no more requests of the engine, and tell this as the reason."""
    def cancel(self, id: int, ticket: int) -> bool:
        """Take a request out of the queue: it ends as Cancelled. False if it has started or ended."""
    def completion_fd(self) -> int:
        """An eventfd, readable while completions wait to be taken."""
    def take_completions(self) -> list[Completion]:
        """Every completion since the last call; never blocks."""
    def hold_short_requests(self, hold: bool) -> None:
        """From now on, submit() may hold a request that finds its engine idle and whose execution is known to
        be short, until run_held(): then it costs no wake-up of another thread."""
    def run_held(self) -> list[Completion]:
        """Run the held requests, some 100 microseconds of work, and return every completion since the last
        call. Call it after submit(), once whatever else has arrived is submitted too, on the same thread.
        Requests that others have joined run in other threads."""
    def stats(self) -> list[EngineStats]:
        """Of the loaded engines, and of those whose counts an unload has kept: these have no instances. Of
        each name by which an engine was called; its own comes first."""
    def condition(self, id: int) -> Condition:
        """NotFound for an unknown ID."""
    def left_behind(self) -> tuple[int, int]:
        """How many instances unloads have left behind because an execution had not ended; and how many of
        them still run."""
    def close(self) -> None:
        """Blocks. Unload everything, and stop every thread except those left behind. Completions can
        still be taken afterwards."""

class LogRecord:
    """A log line from below the seam."""

    @property
    def severity(self) -> str:
        """debug, info, warning or error."""
    @property
    def component(self) -> str:
        """The source, for example "tensorrt"."""
    @property
    def message(self) -> str: ...

def log_fd() -> int:
    """An eventfd, readable while log records wait."""

def take_log() -> list[LogRecord]:
    """Every log record since the last call; never blocks."""

def engine_info(id: int) -> EngineInfo:
    """The engine `id` of the current runtime: for the fake kernel of the typed operator."""

def available_host_memory(
    meminfo: str = "/proc/meminfo", cgroup: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup"
) -> int | None:
    """Bytes of the host's memory that this process can still have: what is available on the machine, in the
    process's control groups, or in its address space, whichever is least; None if the system does not tell.

    Page cache counts as available. Tests give other files than the system's.
    """

def register_process_backend(
    name: str, plugin: str, libraries: Sequence[str] = ..., config: Mapping[str, str] = ...
) -> None:
    """Runtime.register_backend() for engines without a Runtime."""

def load_process_engine(id: int, plan: str, backend: str, options: LoadOptions) -> None:
    """Blocks. Load an engine without a Runtime, for the operators alone, or count a further use of it. With
    an empty `backend`, the plan's first bytes say which. Conflict if the process has a Runtime, or if the
    engine of this ID was loaded from another plan or with other options."""

def unload_process_engine(id: int) -> None:
    """Blocks. End one use; the last one, or the end of the last module that carries the engine, unloads it.
    NotFound if it was ended as often as it was loaded."""

def close_process_engines(drain_seconds: float) -> None:
    """Blocks. Unload all engines without a Runtime, whoever uses them; executions that take longer than
    `drain_seconds` are interrupted. Later loads are possible."""

def typed_module(id: int) -> torch.ScriptModule:
    """An engine's wrapper, whose graph calls `trt::execute_engine_list` with the ID; see runtime_ext.wrap."""

def carrying_module(id: int) -> torch.ScriptModule:
    """Likewise, with the engine inside. NotFound if the engine was not loaded with load_process_engine."""

def default_device(id: int) -> str:
    """Where an engine runs now, and leaves its outputs, if no input says so."""

class HeadReader:
    """Reads the heads (request line and headers) of ordinary POST requests of HTTP/1.1. Immutable.

    It is stricter than HTTP demands: it reads no head that httptools refuses, and those that it reads,
    httptools reads in the same way.
    """

    def __init__(
        self,
        kept: Sequence[str],
        numbers: tuple[str, str, str],
        refused: Sequence[str],
        apart: str = ...,
        told: Sequence[str] = ...,
        quiet: Mapping[str, str] = ...,
    ) -> None:
        """Names of headers, in lower case: those whose values matter as they are; those whose values are
        whole numbers, which may differ from request to request; those that no head may have; one whose
        value is told apart; and up to four whose values are told where a head has any of them. A head must
        not have a number twice, nor one of those that are told. All other headers are only checked.

        `quiet` are ends of told values, by name: a value with that end asks for nothing and, unless the end
        is empty, declines what the header is for."""
    def read(
        self, data: bytes
    ) -> (
        tuple[bytes, int, int, int, int, bytes | None, tuple[bytes | None, ...] | Literal[False] | None]
        | None
    ):
        """The head at the start of `data`; None if it is incomplete or invalid, or has anything unusual.

        Returns the short head, which is the same for all heads that differ only in what does not matter: the
        request line, the `kept` headers as they were sent, 0 for each number, and an empty line. Then the
        length of the head that was sent; the numbers, -1 for each that is not there; the value of the
        header that is told apart, None if it is not there; and the values of the four that are told, None if
        none of them asks for anything, or False if one declines and none asks. Values have no
        white space around them.
        """

Buffer = bytes | bytearray | memoryview | Output | np.ndarray[Any, Any]

def find_number_lists(document: Buffer, least: int, most: int) -> list[tuple[int, int]]:
    """Find lists of numbers that are the values of a key "data" in a JSON document and have at least `least`
    characters; return the begin and end of the first `most`.

    Only read_number_list checks that these are lists of numbers. Releases the GIL.
    """

def find_plain_strings(document: Buffer, least: int) -> list[tuple[int, int]]:
    """Find strings of a JSON document that have at least `least` characters, all printable ASCII and not
    escaped; return the begin and end of each, without the quotes. Releases the GIL.
    """

def read_number_list(
    text: Buffer, shape: Sequence[int], datatype: str, to: Buffer
) -> tuple[str, int, int, int] | None:
    """Read a JSON list of numbers, flat or nested like `shape`, into the writable buffer `to`.

    Elements beyond the end of `to` are only counted. Returns the fault, if there is one: "malformed",
    "nesting", "count" or "element"; the depth, the number of elements, or the element's index; and its begin
    and end in the text. FP16 and BF16 are not supported. Releases the GIL.
    """

class TensorMemory:
    """Memory for consecutive tensors."""

    def __buffer__(self, flags: int, /) -> memoryview: ...

class JsonLayout:
    """What the documents of one `rest` are read into: tensors, one after the other. Immutable."""

    def __init__(self, tensors: Sequence[tuple[str, Sequence[int]]], has_id: bool) -> None:
        """The datatype and the shape of each tensor; the datatypes are those of read_number_list()."""

    @property
    def nbytes(self) -> int: ...

class CutDocument:
    """A JSON document without its lists of numbers and its id."""

    @property
    def rest(self) -> bytes:
        """The document with a 0 in place of each list that is the value of a key "data", and a 1 in place of
        the first plain string that is the value of a key "id".

        Two documents of one rest, of which one is valid JSON, differ only in these values if read() takes
        both.
        """

    @property
    def id(self) -> str | None: ...
    def read(self, layout: JsonLayout) -> bytes | TensorMemory | None:
        """The tensors, as read_number_list() reads their lists; None if it refuses one, if there are other
        lists than in the layout, or if only one of both has an id. Releases the GIL if it takes long.
        """

def cut_json(body: Buffer, offset: int, most_lists: int, most_rest: int) -> CutDocument | None:
    """Cut the JSON document from `offset` to the end of `body`; None if it has more lists, or more bytes
    besides them. Keeps the body. Releases the GIL if it takes long.
    """

def write_number_list(data: Buffer, datatype: str) -> bytes:
    """Write a tensor's elements as a flat JSON list, floats as the shortest decimals that are read as the
    same float. Infinities and NaN are null. Releases the GIL if it takes long.
    """

def top_classes(data: Buffer, datatype: str, items: int, count: int, labels: Sequence[str]) -> bytes:
    """Find the `count` greatest elements of each of `items` equal parts of a tensor, the greatest first.

    Returns the data of a BYTES tensor, `count` elements for each part: "score:index", and ":label" where the
    index has a label. `count` is at most the elements of a part. BOOL and BYTES are not supported. Releases
    the GIL while it searches and writes; `labels` must not change meanwhile.
    """

def read_contents(
    message: Buffer, field: int, datatype: str, to: Buffer
) -> tuple[int, tuple[str, int, int] | None]:
    """Read the elements of one field of an InferTensorContents message into the writable buffer `to`.

    Returns the number of elements (those beyond the end of `to` are only counted); and the fault, if there is
    one: "malformed", "other field" or "element"; the byte, the other field's number, or the element's index;
    and the element. FP16 and BF16 are not supported. Releases the GIL.
    """

def read_string_contents(message: Buffer, field: int, to: Buffer) -> tuple[int, int, tuple[str, int] | None]:
    """Write the elements of one field of bytes of an InferTensorContents message into the writable buffer
    `to`, as the data of a BYTES tensor.

    Returns the number of elements (one that does not fit is only counted); the bytes that were written; and
    the fault, as read_contents() does. Releases the GIL.
    """

class GrpcMessage:
    """A message that a client sent on a call, without its prefix; its bytes through the buffer protocol."""

    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...
    @property
    def compressed(self) -> bool: ...
    @property
    def key(self) -> bytes:
        """Of a ModelInferRequest, all but its id and data: requests with the same key differ only in these.

        Empty for an unusual request, which must be read as a whole.
        """
    @property
    def id(self) -> bytes:
        """The request's id in ASCII, if it has a key."""

class GrpcSession:
    """The server's side of one connection of gRPC over HTTP/2, without input and output.

    Bytes go in and events come out; answers go in and bytes come out. Absent where the extension was built
    without nghttp2. Belongs to one thread. `call` is a call's stream. Functions ignore a call that is over.
    """

    def __init__(
        self,
        *,
        message_bytes: int,
        in_progress: int,
        calls: int,
        ping_interval_ns: int,
        ping_strikes: int,
        tell_all: bool = ...,
        told: Sequence[str] = ...,
    ) -> None:
        """`message_bytes`: the most of a message; `in_progress`: messages of one call that are told and not
        answered; `calls` that may be open; a ping sooner than `ping_interval_ns` after the last is a strike,
        and one more than `ping_strikes` ends the connection (0: any number). `tell_all`: tell of a
        ModelInfer too when it is opened. `told`: names of up to four headers, see told()."""
    def receive(self, buffer: Buffer, size: int, now_ns: int) -> list[tuple[int, int, object, int | None]]:
        """Take the first `size` bytes of `buffer`; return the events: kind, call, payload and deadline.

        Kinds: 0 a call was opened, other than a ModelInfer unless `tell_all` (its path); 1 a whole message of
        a call other than a ModelInfer (GrpcMessage); 2 the client sends no more; 3 the client has left the
        call; 4 a message is too large (its bytes); 5 nothing more can be read from the call (why); 6 the
        message of a ModelInfer; 7 the same for a call with headers that are told (the message, and told()).
        Times are in nanoseconds by the clock of `now_ns`.
        """
    def events(self) -> list[tuple[int, int, object, int | None]]:
        """Further events, which sent() may cause."""
    @property
    def has_events(self) -> bool: ...
    @property
    def held(self) -> int:
        """Bytes kept of messages that are not whole."""
    @property
    def latest(self) -> int:
        """The call that received bytes last."""
    @property
    def latest_size(self) -> int:
        """The size of the message that this call is receiving; 0 for none."""
    def coding(self, call: int) -> str:
        """The grpc-encoding of a call."""
    def authorization(self, call: int) -> bytes | None:
        """The value of a call's header of this name; None if it has none, empty if it has several."""
    def told(self, call: int) -> tuple[bytes | None, ...] | None:
        """The values of a call's headers that are told, the first of each; None if it has none of them."""
    def expecting(self) -> list[tuple[int, int]]:
        """The calls that wait for the rest of a message, and the bytes that each has received."""
    def overdue(self, now_ns: int) -> list[int]:
        """The calls whose deadline has passed, and which have no status yet."""
    @property
    def calls(self) -> int:
        """How many are open."""
    @property
    def settled(self) -> bool:
        """True once the client has acknowledged this side's settings."""
    @property
    def pings_acknowledged(self) -> int: ...
    @property
    def ended(self) -> bool:
        """True if the connection is to be closed once all output is written."""
    def send(self, call: int, parts: Sequence[Buffer]) -> bool:
        """Send a message, given in parts; long parts are not copied. False if it is too large."""
    def answer(
        self,
        call: int,
        head: bytes,
        message: GrpcMessage,
        completion: Completion,
        outputs: Sequence[int],
        in_stream: bool,
    ) -> bool:
        """Send a ModelInferResponse: the fields in `head`, the id of `message`, and the outputs with these
        indices. `in_stream`: within a ModelStreamInferResponse. False if it is too large."""
    def finish(
        self, call: int, code: int = ..., sentence: str = ..., metadata: Sequence[tuple[str, str]] = ...
    ) -> None:
        """End a call with a status, after the messages that are being sent."""
    def ignore(self, call: int) -> None:
        """Drop what a call still receives, and what it has received of a message."""
    def skip(self, call: int) -> bool:
        """Drop the message that a call is receiving; it must be answered like one that was told. False if
        there is none."""
    def reset(self, call: int) -> None:
        """End a call at once, without a status; no event tells of it."""
    def ping(self) -> None: ...
    def notice(self) -> None:
        """Tell the client that no more calls will be accepted."""
    def go_away(self, error: int, reason: str) -> None:
        """Tell the client to open no more calls, and why; those that are open go on."""
    def end(self, error: int, reason: str, sentence: str) -> None:
        """Like go_away(), and the connection is to be closed: calls without a status end as unavailable."""
    def output(self, most: int) -> bytes | memoryview:
        """Bytes for the client: about `most`, if there are so many."""
    def sent(self) -> list[int]:
        """The calls of the messages that were put out whole since the last time, one for each message."""
    def answered(self) -> bool:
        """True if anything of a call was put out since the last time."""
