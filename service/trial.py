"""Trial loads: a plan that nobody has deserialized here before is loaded in a process of its own first.

TensorRT trusts the plans that it reads: a damaged or hostile one may crash the process, or never come back.
Then it is a child's process (runtime_ext/trial.py), and the server goes on with what it serves.
"""

import asyncio
import json
import logging
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from runtime_ext.backends import TensorRtOptions
from service.errors import ExecutionFailed, InvalidInput, TrtserveError, Unavailable, of_kind
from service.metadata import StoredEngine

logger = logging.getLogger(__name__)

# -P: the folder that the server was started in is no place to import from.
COMMAND = (sys.executable, "-P", "-m", "runtime_ext.trial")
REPORT_BYTES = 64 * 1024  # kept of what the child writes to stdout, whose last line is the report
STDERR_CHARACTERS = 2000  # kept of what it writes to stderr
CHUNK_BYTES = 64 * 1024

Trial = Callable[[Path, StoredEngine], Awaitable[None]]
"""Loads the plan at a path with the options of an engine; raises a TrtserveError where that fails."""


class TrialLoads:
    """Runs trials, so many at once, until stop(). Belongs to one event loop."""

    def __init__(self, trial: Trial, at_once: int) -> None:
        self._trial = trial
        self._free = asyncio.Semaphore(at_once)
        self._running: set[asyncio.Future[None]] = set()
        self._stopped = False

    async def run(self, plan: Path, engine: StoredEngine) -> None:
        """Raises what the trial raises, and Unavailable once stop() was called."""
        async with self._free:
            if self._stopped:
                raise Unavailable("The server is stopping.")
            trial = asyncio.ensure_future(self._trial(plan, engine))
            self._running.add(trial)
            try:
                await trial
            except asyncio.CancelledError:
                if self._stopped:
                    raise Unavailable("The server is stopping.") from None
                raise
            finally:
                self._running.discard(trial)

    def stop(self) -> None:
        """End the trials that run, and refuse the next."""
        self._stopped = True
        for trial in self._running:
            trial.cancel()


class ProcessTrial:
    """A Trial in a child process. Without state: any number may run at the same time."""

    def __init__(self, tensorrt: TensorRtOptions, timeout_s: float, command: Sequence[str] = COMMAND) -> None:
        """`command` is what the child runs unless a test gives another."""
        self._tensorrt = tensorrt
        self._timeout_s = timeout_s
        self._command = tuple(command)

    async def __call__(self, plan: Path, engine: StoredEngine) -> None:
        """However it ends, and being cancelled is one way, it leaves no child behind."""
        # A session of its own: a Ctrl-C in the server's terminal is not meant for the child.
        child = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        report, said = bytearray(), bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                await _converse(child, self._request(plan, engine), report, said)
        except TimeoutError:
            raise Unavailable(
                f"The plan's trial load in a process of its own took longer than {self._timeout_s:g} s and "
                "was ended: nothing was loaded. Try again when the machine has less to do, or start the "
                "server with a higher --trial-load-timeout-s."
            ) from None
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
            words = said.decode(errors="replace")[-STDERR_CHARACTERS:]
            logger.debug("trial load of engine %d: exit code %s: %s", engine.id, child.returncode, words)
        failure = _failure(bytes(report), await child.wait(), words)
        if failure is not None:
            raise failure

    def _request(self, plan: Path, engine: StoredEngine) -> bytes:
        library = self._tensorrt.library
        request = {
            "plan": str(plan.absolute()),
            "device": engine.device,
            "cuda_graphs": engine.cuda_graphs,
            "library": None if library is None else str(library),
            "plugins": [str(plugin) for plugin in self._tensorrt.plugins],
            "allow_host_code": self._tensorrt.allow_host_code,
        }
        return json.dumps(request).encode() + b"\n"


async def _converse(child: Process, request: bytes, report: bytearray, said: bytearray) -> None:
    """Ask, and take what the child writes until it has ended."""
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    async with asyncio.TaskGroup() as reading:
        reading.create_task(_keep_last(REPORT_BYTES, child.stdout, report))
        reading.create_task(_keep_last(4 * STDERR_CHARACTERS, child.stderr, said))
        child.stdin.write(request)
        with suppress(ConnectionError):  # a child that ended without reading: its exit code tells more
            await child.stdin.drain()
        await child.wait()  # stdin stays open until then: the child takes its closing as the server's end


async def _keep_last(count: int, stream: asyncio.StreamReader, kept: bytearray) -> None:
    while chunk := await stream.read(CHUNK_BYTES):
        kept += chunk
        del kept[:-count]


def _failure(report: bytes, exit_code: int, words: str) -> TrtserveError | None:
    """What is wrong with the plan after its trial; None where nothing is."""
    if exit_code == -signal.SIGKILL:
        return Unavailable(
            "The plan's trial load in a process of its own was killed (signal SIGKILL), as it happens when "
            "memory runs out: nothing was loaded. Free memory, or give the server more, and upload it again."
        )
    if exit_code < 0:
        return InvalidInput(
            "The plan crashed TensorRT in a trial load in a process of its own (signal "
            f"{_signal_name(-exit_code)}): nothing was loaded. It is damaged, or was built for another "
            "TensorRT or GPU: build it again with this server's TensorRT (GET /version) on such a GPU as "
            "this server has."
        )
    match _last_line(report):
        case {"ok": True}:
            return None
        case {"kind": str(kind), "message": str(message)}:
            return of_kind(kind, message)
    last = (words.strip().splitlines() or ["it said nothing"])[-1]
    return ExecutionFailed(
        "The plan's trial load in a process of its own ended without a report "
        f"(exit code {exit_code}; {last}): nothing was loaded. The log says more at --log-level debug."
    )


def _last_line(report: bytes) -> object:
    """The JSON in the last line; None where it is none."""
    try:
        return json.loads((report.splitlines() or [b""])[-1])
    except (ValueError, RecursionError):
        return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return str(number)
