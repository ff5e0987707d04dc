"""A Python Runtime with the interface of runtime_ext/_C.pyi, for tests of the code above the seam.

Faithful in what matters there: tickets, one completion per request, one eventfd, buffers kept until the
completion is taken, and the kinds of errors. submit() runs a request immediately, unless `hold()` was called:
then requests wait until `release()`, which runs them by priority and then by arrival, if a device of their
engine is alive then. It validates only names, since the C++ core checks inputs. It joins no requests: each
runs alone, as one item. Above 400 lines, because it has every method of the Runtime.
"""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

from runtime_ext import BESIDE, Error
from tests.fakes.values import (
    INFER_NS,
    INPUT_NS,
    NORMAL,
    OUTPUT_NS,
    PRIORITIES,
    QUEUE_NS,
    BuildOptions,
    BuildProgress,
    Completion,
    Condition,
    EngineInfo,
    EngineStats,
    Input,
    LoadOptions,
    ModuleInspection,
    Output,
    Prepared,
    ShapeRange,
    Tensor,
    TensorSpec,
    as_fake_options,
    error,
)
from tests.waiting import HANGS_AFTER_S

MEMORY_BYTES = 8 * 1024**2  # of an engine
CONTEXT_BYTES = 1024


def echo(inputs: Sequence[Input]) -> list[Output]:
    """The default engine of the fake: returns x as y."""
    (_, datatype, shape, buffer), *_ = inputs
    return [Output.of("y", datatype, shape, buffer)]


def times_of(waiting: "Waiting") -> tuple[int, int, int, int, int, int]:
    """As Completion.times has them: every phase takes as long as the statistics say."""
    arrival, start, gathered, inferred, end = accumulate(
        (QUEUE_NS, INPUT_NS, INFER_NS, OUTPUT_NS), initial=waiting.arrival_ns
    )
    return waiting.ticket, arrival, start, gathered, inferred, end


@dataclass
class Waiting:
    ticket: int
    engine: int  # its place
    inputs: Sequence[Input]
    priority: int = NORMAL
    arrival_ns: int = 0
    name: str = ""  # by which the client called the engine


class FakeRuntime:
    """A fake of the seam's Runtime; see the module's docstring. Tests may set the first block of
    attributes."""

    def __init__(self, backends: Sequence[str] = ("openvino",)) -> None:
        self.batch_requests = 1  # reported for every execution
        self.auto_batch_size = 1  # of engines that are loaded with AUTO_BATCH_SIZE
        self.inputs = [TensorSpec("x", "FP32", [-1, 4], [ShapeRange([1, 4], [1, 4], [-1, 4])])]
        self.outputs = [TensorSpec("y", "FP32", [-1, 4])]
        self.compute: Callable[[Sequence[Input]], list[Output]] = echo
        self.load_error: Error | None = None
        self.refuses: Callable[[LoadOptions], bool] = lambda options: (
            False
        )  # whether a load with these options fails
        self.compiles = b""  # what write_compiled() writes after its head; empty: nothing
        self.write_error: Error | None = None  # of write_compiled()
        self.retry_after: float | None = None  # for a full queue, in seconds
        self.versions: dict[str, str | Error] = {"openvino": "2026.4-fake", "tensorrt": "11.1.0.106"}
        self.dead: dict[str, str] = {}  # device -> reason
        self.conditions: dict[int, Condition] = {}  # for engines in trouble
        self.memory_bytes: dict[int, int] = {}  # on each device, of engines that do not take MEMORY_BYTES
        self.devices: dict[str, tuple[int, int]] = {}  # accelerators: free and total bytes
        self.leases: Counter[int] = Counter()  # contexts that operators use, by engine
        self.abandoned = (0, 0)  # instances that unloads left behind: in total, and still running
        self.close_gate = threading.Event()  # cleared: close() blocks until it is set
        self.close_gate.set()
        self.warm_up_error: Error | None = None
        self.inspection = ModuleInspection()  # of every module
        self.load_gate = threading.Event()  # cleared: loads block until it is set
        self.load_gate.set()
        self.unload_gate = threading.Event()  # cleared: unloads block until it is set
        self.unload_gate.set()

        self.builders: set[str] = set()  # backends that build plans
        self.build_error: Error | None = None
        self.build_gate = threading.Event()  # cleared: builds block until it is set
        self.build_gate.set()

        self.builds: list[tuple[str, str, str, BuildOptions]] = []  # builds that have begun
        self.loads: list[tuple[int, str, str, LoadOptions]] = []  # loads that have begun
        self.warmed: list[tuple[int, list[list[tuple[list[int], list[int]]]]]] = []  # engines, executions
        self.unloading: list[int] = []  # engines whose unload has begun
        self.unloads: list[tuple[int, float]] = []  # unloads that have ended, in order
        self.cancelled: list[int] = []
        self.takers: dict[int, EngineInfo] = {}  # by ticket, the engine that accepted the request
        self.timeouts: list[int | None] = []
        self.priorities: list[int] = []
        self.closed = self.holds_short = self._held = False
        self._backends = list(backends)
        self._lock = threading.Lock()
        self._engines: dict[int, EngineInfo] = {}  # by place: the ID, and beside one that serves with BESIDE
        self._stats: dict[int, EngineStats] = {}
        self._former: dict[int, EngineStats] = {}  # of engines that were unloaded with keep_counts
        self._uses = 0  # loads and submits
        self._used: dict[int, int] = {}  # by engine, the number of its last
        self._waiting: dict[int, Waiting] = {}
        self._completions: list[Completion] = []
        self._next_ticket = 1
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def end(self) -> None:
        """Close the descriptor: FastAPI never releases applications, nor what their state holds."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.end()

    # -- controls for tests

    def hold(self) -> None:
        """Make requests wait from now on."""
        self._held = True

    def release(self) -> None:
        """Run the waiting requests by priority, and stop holding requests."""
        self._held = False
        for waiting in sorted(self._waiting.values(), key=lambda w: (w.priority, w.ticket)):
            self._run(waiting)

    @property
    def waiting(self) -> list[int]:
        """Return the tickets of the waiting requests."""
        return list(self._waiting)

    # -- the interface of Runtime

    def register_backend(
        self, name: str, plugin: str, libraries: Sequence[str] = (), config: Mapping[str, str] | None = None
    ) -> None:
        self._backends.append(name)

    def backends(self) -> list[str]:
        return list(self._backends)

    def backend_version(self, name: str) -> str:
        version = self.versions[name]
        if isinstance(version, Error):
            raise version
        return version

    def backend_builds(self, backend: str) -> bool:
        return backend in self.builders

    def devices_of(self, backend: str, option: str) -> list[str]:
        if option == "all":
            return list(self.devices) or ["cuda:0"]
        return ["cpu"] if option == "auto" else option.split(",")

    def build(
        self, backend: str, model: str, plan: str, options: BuildOptions, progress: BuildProgress
    ) -> None:
        self.builds.append((backend, model, plan, options))
        assert self.build_gate.wait(HANGS_AFTER_S), "the test did not open the gate of builds"
        if backend not in self.builders:
            raise error("Unsupported", "this backend does not build plans")
        if self.build_error is not None:
            raise self.build_error
        Path(plan).write_bytes(b"plan of " + Path(model).read_bytes())

    def inspect_module(self, path: str, tensors: str = "") -> ModuleInspection:
        if not Path(path).is_file():
            raise error("NotFound", f"There is no file {path}.")
        return self.inspection

    def load(self, id: int, plan: str, backend: str, options: LoadOptions) -> EngineInfo:
        self.loads.append((id, plan, backend, as_fake_options(options)))
        assert self.load_gate.wait(HANGS_AFTER_S), "the test did not open the gate of loads"
        with self._lock:
            if id in self._engines:
                raise error("Conflict", f"Engine {id} is resident already.")
            if self.load_error is not None:
                raise self.load_error
            if self.refuses(options):
                raise error("InvalidInput", "The engine cannot be loaded with these options.")
            if not Path(plan).is_file():
                raise error("NotFound", f"There is no file {plan}.")
            uses = self._uses_of(backend, options)
            if missing := [used for used in uses if used not in self._engines]:
                raise error("NotFound", f"Engine {id} calls engine {missing[0]}, which is not loaded.")
            devices = self._place(options.device)
            info = EngineInfo(
                id=id & ~BESIDE,
                name=options.name,
                backend=backend,
                device=",".join(devices),
                instances=options.instances or 1,
                max_queue_size=options.max_queue_size,
                max_batch_size=options.batch.max_batch_size or self.auto_batch_size,
                inputs=self.inputs,
                outputs=self.outputs,
                uses=uses,
            )
            self._engines[id] = info
            if id & BESIDE:
                return info
            former = self._former.pop(id, None)
            self._stats[id] = former or EngineStats(id, options.name, info.instances)
            self._stats[id].instances = info.instances
            self._use(id)
            return info

    def _place(self, option: str) -> list[str]:
        """The devices of an engine: those of its option that are alive. Unavailable if all are dead."""
        named = {"auto": ["cpu"], "all": list(self.devices) or ["cpu"]}.get(option, option.split(","))
        alive = [device for device in named if device not in self.dead]
        if not alive:
            raise error("Unavailable", self._why_dead(named[0]))
        return alive

    def _why_dead(self, device: str) -> str:
        return f"Device {device} is dead: {self.dead[device]}: restart the server."

    def warm_up(
        self,
        id: int,
        executions: Sequence[Sequence[tuple[Sequence[int], Sequence[int]]]],
        most_seconds: float,
    ) -> int:
        self.engine(id)
        self.warmed.append(
            (id, [[(list(shape), list(values)) for shape, values in one] for one in executions])
        )
        if self.warm_up_error is not None:
            raise self.warm_up_error
        return len(executions)

    def write_compiled(self, id: int, path: str) -> bool:
        self.engine(id)
        if self.write_error is not None:
            raise self.write_error
        _, _, _, options = next(load for load in reversed(self.loads) if load[0] == id)
        if not self.compiles or options.compiled:
            return False
        Path(path).write_bytes(bytes(32) + self.compiles)
        return True

    def _use(self, id: int) -> None:
        self._uses += 1
        self._used[id] = self._uses

    def unload(self, id: int, drain_seconds: float = 30.0, keep_counts: bool = False) -> None:
        self.engine(id)
        if users := [user.id for user in self._engines.values() if id in user.uses]:
            raise error("Conflict", f"Engine {id} is used by engine {users[0]}.")
        self.unloading.append(id)
        assert self.unload_gate.wait(HANGS_AFTER_S), "the test did not open the gate of unloads"
        with self._lock:
            self.unloads.append((id, drain_seconds))
            del self._engines[id]
            del self.leases[id]
            stats = self._stats.pop(id, None)
            if keep_counts and stats is not None:
                stats.instances = 0
                self._former[id] = stats
        for waiting in [w for w in self._waiting.values() if w.engine == id]:
            self._complete(waiting, Completion(waiting.ticket, "Unavailable", f"Engine {id} was unloaded."))

    def exchange(self, id: int) -> None:
        engine, other = self.engine(id), self.engine(id | BESIDE)
        with self._lock:
            self._engines[id], self._engines[id | BESIDE] = other, engine
            self._stats[id].instances = other.instances
            if id | BESIDE in self.memory_bytes:
                self.memory_bytes[id] = self.memory_bytes.pop(id | BESIDE)
            for waiting in self._waiting.values():
                if waiting.engine & ~BESIDE == id:
                    waiting.engine ^= BESIDE

    def forget(self, id: int) -> None:
        self._former.pop(id, None)

    def memory(self, id: int) -> dict[str, dict[str, int]]:
        bytes = self.memory_bytes.get(id & ~BESIDE, MEMORY_BYTES)
        weights = self.memory_bytes.get(id, bytes) - CONTEXT_BYTES
        return {device: {"weights": weights, "contexts": CONTEXT_BYTES} for device in self.engine(id).devices}

    def device_memory(self, device: str) -> tuple[int, int] | None:
        return self.devices.get(device)

    def stop_joining(self, id: int, why: str) -> None:
        self._engines[id] = replace(self.engine(id), max_batch_size=1, why_not_joined=why)

    def engines(self) -> list[EngineInfo]:
        return list(self._engines.values())

    def engine(self, id: int) -> EngineInfo:
        if id not in self._engines:
            raise error("NotFound", f"There is no engine {id}.")
        return self._engines[id]

    def graph(self, id: int) -> str:
        return f"graph(%self : {self.engine(id).name}, %x : Tensor):\n  return (%x)\n"

    def layers(self, id: int) -> str:
        if self.engine(id).backend != "tensorrt":
            raise error("Unsupported", "this engine's backend does not report layers")
        return '{"Layers": ["conv1", "relu1"]}'

    def dead_devices(self) -> dict[str, str]:
        return dict(self.dead)

    def module_bytes(self, id: int) -> bytes:
        return b"PK module of " + str(self.engine(id).id).encode()

    def write_module(self, id: int, plan: str, fd: int) -> None:
        with open(fd, "wb", closefd=False) as file:
            file.write(self.module_bytes(id) + b" with " + Path(plan).read_bytes())

    def prepare(self, id: int, tensors: Sequence[Tensor], name: str = "") -> Prepared:
        expected = {spec.name for spec in self.engine(id).inputs}
        if {name for name, *_ in tensors} != expected:
            self._stats[id].called(name).count("InvalidInput")
            raise error("InvalidInput", f"The inputs of engine {id} are {', '.join(sorted(expected))}.")
        return Prepared(id, tuple(tensors), name)

    def submit(
        self,
        prepared: Prepared,
        data: object,
        offset: int = 0,
        timeout_ns: int | None = None,
        priority: int = NORMAL,
    ) -> int:
        if not 0 <= priority < PRIORITIES:
            raise error("InvalidInput", f"The priority is {priority}; allowed are 0, 1 and 2.")
        inputs = prepared.inputs(data, offset)
        id = prepared.engine
        info = self.engine(id)
        self.prepare(id, prepared.tensors, prepared.name)  # again: the ID may have been reloaded since
        if self._stats[id].queue_depth >= info.max_queue_size:
            self._stats[id].called(prepared.name).count("QueueFull")
            sentence = f"The queue of engine {id} is full ({info.max_queue_size} requests)."
            raise error("QueueFull", sentence, self.retry_after)
        self._use(id)
        self.timeouts.append(timeout_ns)
        self.priorities.append(priority)
        with self._lock:
            ticket = self._next_ticket
            self._next_ticket += 1
        waiting = Waiting(ticket, id, inputs, priority, time.monotonic_ns(), prepared.name)
        self._waiting[ticket] = waiting
        self.takers[ticket] = info
        self._stats[id].queue_depth += 1
        if not self._held:
            self._run(waiting)
        return ticket

    def submit_message(
        self, prepared: Prepared, message: object, timeout_ns: int | None = None, priority: int = NORMAL
    ) -> int:
        raise NotImplementedError("messages of gRPC go to a real runtime")

    def cancel(self, id: int, ticket: int) -> bool:
        waiting = self._waiting.get(ticket)
        if waiting is None:
            return False
        self.cancelled.append(ticket)
        self._complete(waiting, Completion(ticket, "Cancelled", "The request was cancelled."))
        return True

    def completion_fd(self) -> int:
        return self._fd

    def take_completions(self) -> list[Completion]:
        with self._lock:
            taken, self._completions = self._completions, []
        with suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        return taken

    def hold_short_requests(self, hold: bool) -> None:
        self.holds_short = hold

    def run_held(self) -> list[Completion]:
        return []

    def stats(self) -> list[EngineStats]:
        engines = [*self._stats.values(), *self._former.values()]
        return [each for stats in engines for each in (stats, *stats.others.values())]

    def condition(self, id: int) -> Condition:
        if id in self.conditions:
            return self.conditions[id]
        requests = sum(waiting.engine == id for waiting in self._waiting.values())
        used = self._used.get(id, 0)
        return Condition(
            self.engine(id).instances,
            requests=requests,
            leases=self.leases[id],
            unused_seconds=float(self._uses - used),
            last_used_ns=used,
        )

    def left_behind(self) -> tuple[int, int]:
        return self.abandoned

    def close(self) -> None:
        assert self.close_gate.wait(HANGS_AFTER_S), "the test did not open the gate of close()"
        for id in [*reversed(self._engines)]:  # users have come after what they use
            self.unload(id, 0.0)
        self.closed = True

    def _uses_of(self, backend: str, options: LoadOptions) -> list[int]:
        if backend != "torchscript":
            return []
        names = (options.engines[name] for name in self.inspection.engine_names)
        return sorted({*self.inspection.engine_ids, *names})

    # -- one request

    def _run(self, waiting: Waiting) -> None:
        devices = self.engine(waiting.engine).devices
        try:
            if all(device in self.dead for device in devices):
                raise error("Unavailable", self._why_dead(devices[0]))
            outputs = self.compute(waiting.inputs)
        except Error as failure:
            failed = Completion(waiting.ticket, failure.kind, str(failure), batch_requests=1)
            self._complete(waiting, failed)
        else:
            self._complete(
                waiting,
                Completion(
                    waiting.ticket,
                    outputs=outputs,
                    batch_requests=self.batch_requests,
                    times=times_of(waiting),
                ),
            )

    def _complete(self, waiting: Waiting, completion: Completion) -> None:
        del self._waiting[waiting.ticket]
        stats = self._stats.get(waiting.engine & ~BESIDE)
        if stats is not None:
            stats.queue_depth -= 1
            stats.called(waiting.name).count(completion.kind)
        with self._lock:
            self._completions.append(completion)
        os.eventfd_write(self._fd, 1)
