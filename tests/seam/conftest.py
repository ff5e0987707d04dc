"""Fixtures for tests of the compiled extension: a real runtime with the toy backend and the real ones."""

import ctypes
import select
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numpy as np
import pytest

import runtime_ext
from runtime_ext.backends import OpenVinoOptions, TensorRtOptions, plugin_path
from tests.submitting import submit

COMPLETION_TIMEOUT_S = 60

RunInThread = Callable[..., "Future[object]"]


class Gates:
    """The toy backend's gates and counters; see tests/fakes/gate/gate.h."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(str(plugin_path("toy")))
        self._names = count()
        self._shut: set[str] = set()

    def new(self) -> str:
        gate = f"gate{id(self)}_{next(self._names)}"
        self._shut.add(gate)
        return gate

    def open(self, gate: str) -> None:
        self._library.toy_gate_open(gate.encode())
        self._shut.discard(gate)

    def open_all(self) -> None:
        for gate in list(self._shut):
            self.open(gate)

    def let_through(self, gate: str, executions: int) -> None:
        self._library.toy_gate_let_through(gate.encode(), executions)

    def wait_for(self, gate: str, arrivals: int) -> None:
        assert self._library.toy_gate_await(gate.encode(), arrivals), "the executions did not arrive"

    @property
    def contexts(self) -> int:
        return self._library.toy_contexts()

    @property
    def most_in_one_context(self) -> int:
        return self._library.toy_most_in_one_context()


class Harness:
    """A runtime, with the operations that every test needs."""

    def __init__(
        self,
        folder: Path,
        clock: runtime_ext.ManualClock | None = None,
        stuck_after_s: float = 60.0,
        openvino: OpenVinoOptions | None = None,
        tensorrt: TensorRtOptions | None = None,
    ) -> None:
        self.folder = folder
        self.runtime = runtime_ext.create_runtime(
            clock=clock, stuck_after_s=stuck_after_s, openvino=openvino, tensorrt=tensorrt
        )
        self.runtime.register_backend("toy", str(plugin_path("toy")))
        self._ids = count(1)
        self._taken: dict[int, runtime_ext.Completion] = {}
        self.order: list[int] = []  # tickets in the order in which they completed

    def load_toy(self, plan: str, **options: object) -> int:
        """Load a toy plan, given without its first line; return its ID."""
        engine_id = next(self._ids)
        path = self.folder / f"{engine_id}.plan"
        path.write_text(f"toy 1\n{plan}\n")
        self.runtime.load(engine_id, str(path), "toy", runtime_ext.LoadOptions(**options))
        return engine_id

    def load_file(self, path: Path, backend: str = "openvino", **options: object) -> int:
        engine_id = next(self._ids)
        self.runtime.load(engine_id, str(path), backend, runtime_ext.LoadOptions(**options))
        return engine_id

    def submit(
        self, engine_id: int, timeout_ns: int | None = None, priority: int = 1, **inputs: np.ndarray
    ) -> int:
        tensors = [(name, OIP[array.dtype.name], list(array.shape), array) for name, array in inputs.items()]
        return submit(self.runtime, engine_id, tensors, timeout_ns, priority)

    def wait(self, *tickets: int) -> list[runtime_ext.Completion]:
        """Wait for the completions of these tickets; return them in the same order."""
        while not all(ticket in self._taken for ticket in tickets):
            ready, _, _ = select.select([self.runtime.completion_fd()], [], [], COMPLETION_TIMEOUT_S)
            assert ready, f"no completion came; open: {set(tickets) - set(self._taken)}"
            self._take()
        return [self._taken.pop(ticket) for ticket in tickets]

    def taken(self) -> list[runtime_ext.Completion]:
        """Return the completions that have come and were not waited for."""
        self._take()
        taken, self._taken = list(self._taken.values()), {}
        return taken

    def _take(self) -> None:
        for completion in self.runtime.take_completions():
            assert completion.ticket not in self.order, "a request completed twice"
            self._taken[completion.ticket] = completion
            self.order.append(completion.ticket)

    def infer(self, engine_id: int, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        (completion,) = self.wait(self.submit(engine_id, **inputs))
        assert completion.kind is None, completion.message
        return {output.name: to_numpy(output) for output in completion.outputs}

    def stats(self, engine_id: int) -> runtime_ext.EngineStats:
        return next(stats for stats in self.runtime.stats() if stats.id == engine_id)


# Not from the service: these tests also run where only the runtime and its dependencies are.
OIP = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
NUMPY = {datatype: np.dtype(name) for name, datatype in OIP.items()}


def to_numpy(output: runtime_ext.Output) -> np.ndarray:
    return np.frombuffer(output, dtype=NUMPY[output.datatype]).reshape(output.shape)


@pytest.fixture(scope="session")
def gates() -> Gates:
    return Gates()


@pytest.fixture
def harness(tmp_path: Path, gates: Gates) -> Iterator[Harness]:
    harness = Harness(tmp_path)
    yield harness
    gates.open_all()  # a test that failed may have left executions waiting
    harness.runtime.close()


@pytest.fixture
def clock() -> runtime_ext.ManualClock:
    return runtime_ext.ManualClock()


@pytest.fixture
def still_harness(tmp_path: Path, gates: Gates, clock: runtime_ext.ManualClock) -> Iterator[Harness]:
    """Make a harness whose time stands still until the test moves `clock`."""
    harness = Harness(tmp_path, clock)
    yield harness
    gates.open_all()
    harness.runtime.close()


@pytest.fixture
def run_in_thread() -> Iterator[RunInThread]:
    with ThreadPoolExecutor(max_workers=32) as threads:
        yield threads.submit
