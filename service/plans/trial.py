"""Trial loads: a plan that nobody has deserialized here before is loaded in a process of its own first.

Backends trust the plans that they read: a damaged or hostile one may crash the process, take all of its
memory, or never come back. Then it is a child's process (runtime_ext/trial.py), and the server goes on with
what it serves. The child loads the plan and runs nothing. It has no limit of memory of its own, since what a
plan takes of the address space cannot be told (CUDA alone reserves terabytes of it), but is the first that
the kernel ends when memory runs out.
"""

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from runtime_ext.backends import TensorRtOptions, built_backends
from trtserve.errors import ExecutionFailed, InvalidInput, TrtserveError, Unavailable, of_kind
from trtserve.formats.backends import BACKENDS, runtime_backend
from trtserve.options.for_runtime import for_runtime
from trtserve.shortage import RETRY_AFTER_S, shortage_behind, shortage_in
from trtserve.store.database import StoredEngine

logger = logging.getLogger(__name__)

# -P: the folder that the server was started in is no place to import from.
COMMAND = (sys.executable, "-P", "-m", "runtime_ext.trial")
REPORT_BYTES = 64 * 1024  # kept of what comes on the connection: the report, and how the child ended
STDERR_CHARACTERS = 2000  # kept of what the child prints
CHUNK_BYTES = 64 * 1024
KILLED_WITHIN_S = 5.0  # a child that was ended has gone by then, or it or its host is stuck
FROM_OUTSIDE = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}  # no plan raises these

Trial = Callable[[Path, StoredEngine], Awaitable[None]]
"""Loads the plan at a path with the options of an engine; raises a TrtserveError where that fails."""


class PlanCrashed(InvalidInput):
    """The plan ended the process that loaded it."""


class HostGone(Unavailable):
    """The process that trials are forked from ended, and said nothing of the plan."""


class Trials:
    """Runs trials until stop(). Belongs to one event loop."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._running: set[asyncio.Future[None]] = set()
        self._stopped = False

    async def run(self, plan: Path, engine: StoredEngine) -> None:
        """Raises what the trial raises, and Unavailable once stop() was called."""
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


class TrialHost:
    """The process that trials are forked from. Without another it is begun with the first, and anew when it
    is gone.

    `connect` blocks, and is called by one thread at a time.
    """

    def __init__(
        self, forked: tuple[int, socket.socket] | None = None, command: Sequence[str] = COMMAND
    ) -> None:
        """`forked` is what fork_host() returned; `command` is what a host runs unless a test gives
        another."""
        self._command = tuple(command)
        self._process: int | None = None  # its ID
        self._control: socket.socket | None = None
        self._begun: subprocess.Popen[bytes] | None = None  # where it was not forked
        self._closed = False
        if forked is not None:
            self._process, self._control = forked

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Begin a trial: the connection to its child, and what the child prints."""
        connection, theirs = socket.socketpair()
        said, their_said = socket.socketpair()
        with theirs, their_said:
            try:
                descriptors = [theirs.fileno(), their_said.fileno()]
                with suppress(OSError):
                    if self._control is not None:
                        socket.send_fds(self._control, [b"?"], descriptors)
                        return connection, said
                self._begin()
                assert self._control is not None
                socket.send_fds(self._control, [b"?"], descriptors)
            except BaseException:
                connection.close()
                said.close()
                raise
        return connection, said

    def close(self) -> None:
        """End the host, and with it the trials that run. No other is begun."""
        self._closed = True
        self.end()

    def end(self) -> None:
        """End the host, and with it the trials that run; the next trial begins another."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._begun is not None:
            self._begun.kill()
            self._begun.wait()
        elif self._process is not None:
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
        self._begun = self._process = None

    def _begin(self) -> None:
        if self._closed:
            raise OSError("the server is stopping")
        if self._control is not None:
            logger.warning("the process of the trial loads is gone: another is begun")
        self.end()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            self._begun = subprocess.Popen(
                [*self._command, str(number)], stdin=subprocess.DEVNULL, pass_fds=[number]
            )
        self._control = ours


class ProcessTrial:
    """A Trial in a child process. Belongs to the event loop; any number may run at the same time."""

    def __init__(
        self,
        tensorrt: TensorRtOptions,
        timeout_s: float,
        host: TrialHost | None = None,
        backends: Sequence[str] | None = None,
        killed_within_s: float = KILLED_WITHIN_S,
    ) -> None:
        """`backends` are those of the runtime, by one of which a plan is loaded; None: all that are built."""
        self._tensorrt = tensorrt
        self._timeout_s = timeout_s
        self._killed_within_s = killed_within_s
        self._host = host or TrialHost()
        self._backends = tuple(built_backends() if backends is None else backends)
        self._connecting = asyncio.Lock()

    async def close(self) -> None:
        await asyncio.to_thread(self._host.close)

    async def __call__(self, plan: Path, engine: StoredEngine) -> None:
        """However it ends, and being cancelled is one way, it leaves no child behind."""
        request = await asyncio.to_thread(self._request, plan, engine)
        try:
            await self._try(request, engine)
        except HostGone:  # it may have ended after it was asked, and not because of this plan
            await self._try(request, engine)

    async def _try(self, request: bytes, engine: StoredEngine) -> None:
        report, said = bytearray(), bytearray()
        try:
            async with self._connecting:
                connection, printed = await asyncio.shield(asyncio.to_thread(self._host.connect))
            child, asking = await asyncio.open_unix_connection(sock=connection)
            words, writing = await asyncio.open_unix_connection(sock=printed)
        except OSError as broken:
            raise shortage_behind(broken) or _no_host(str(broken)) from broken
        reading = [
            asyncio.create_task(_keep_last(REPORT_BYTES, child, report)),
            asyncio.create_task(_keep_last(4 * STDERR_CHARACTERS, words, said)),
        ]
        try:
            asking.write(request)
            async with asyncio.timeout(self._timeout_s):
                await asyncio.wait(reading)
        except TimeoutError:
            raise Unavailable(
                f"The plan's trial load in a process of its own took longer than {self._timeout_s:g} s and "
                "was ended: nothing was loaded. Try again when the machine has less to do, or start the "
                "server with a higher --trial-load-timeout-s."
            ) from None
        finally:
            with suppress(OSError, RuntimeError):  # it has ended
                asking.write_eof()
            _, stuck = await asyncio.wait(reading, timeout=self._killed_within_s)
            for read in stuck:
                read.cancel()
            if stuck:
                await self._replace_host()
            for end in (asking, writing):
                end.close()
            text = said.decode(errors="replace")[-STDERR_CHARACTERS:]
            logger.debug("trial load of engine %d: %s: %s", engine.id, bytes(report[-200:]), text)
        failure = _failure(bytes(report), text, engine.backend)
        if failure is not None:
            raise failure

    async def _replace_host(self) -> None:
        """End a host that does not end its children, as it hangs: the next trial begins another."""
        logger.warning("a trial load cannot be ended: the process that they are forked from is")
        async with self._connecting:
            await asyncio.to_thread(self._host.end)

    def _request(self, plan: Path, engine: StoredEngine) -> bytes:
        """Blocks: the plan tells which backend of the runtime loads it."""
        library = self._tensorrt.library
        request = {
            "plan": str(plan.absolute()),
            "backend": runtime_backend(engine.backend, plan, self._backends),
            "options": for_runtime(engine.options),
            "library": None if library is None else str(library),
            "plugins": [str(plugin) for plugin in self._tensorrt.plugins],
            "allow_host_code": self._tensorrt.allow_host_code,
        }
        return json.dumps(request).encode() + b"\n"


async def _keep_last(count: int, stream: asyncio.StreamReader, kept: bytearray) -> None:
    with suppress(ConnectionError):
        while chunk := await stream.read(CHUNK_BYTES):
            kept += chunk
            del kept[:-count]


def _failure(said: bytes, words: str, backend: str) -> TrtserveError | None:
    """What is wrong with the plan after its trial; None where nothing is."""
    lines = [line for line in said.splitlines() if line]
    match _parsed(lines[-1:]):
        case {"exit": int(exit_code)}:
            pass
        case _:
            return _no_host("the process that they are forked from is gone")
    if exit_code == -signal.SIGKILL:
        return Unavailable(
            "The plan's trial load in a process of its own was killed (signal SIGKILL), as it happens when "
            "memory runs out: nothing was loaded. Free memory, or give the server more, and upload it again.",
            retry_after=RETRY_AFTER_S,
        )
    if -exit_code in FROM_OUTSIDE:
        return Unavailable(
            "The plan's trial load in a process of its own was ended from outside (signal "
            f"{_signal_name(-exit_code)}): nothing was loaded. Upload it again.",
            retry_after=RETRY_AFTER_S,
        )
    if exit_code < 0:
        return shortage_in(words) or PlanCrashed(
            f"The plan crashed {BACKENDS[backend].library} in a trial load in a process of its own (signal "
            f"{_signal_name(-exit_code)}): nothing was loaded. {BACKENDS[backend].crashed}"
        )
    match _parsed(lines[-2:-1]):
        case {"ok": True}:
            return None
        case {"kind": str(kind), "message": str(message), **more}:
            after = more.get("retry_after")
            return of_kind(kind, message, after if isinstance(after, float) else None)
    last = (words.strip().splitlines() or ["it said nothing"])[-1]
    return shortage_in(words) or ExecutionFailed(
        "The plan's trial load in a process of its own ended without a report "
        f"(exit code {exit_code}; {last}): nothing was loaded. The log says more at --log-level debug."
    )


def _no_host(why: str) -> HostGone:
    return HostGone(
        f"The plan had no trial load in a process of its own, as {why}: nothing was loaded. Try again.",
        retry_after=RETRY_AFTER_S,
    )


def _parsed(line: Sequence[bytes]) -> object:
    """The JSON in the line; None where it is none."""
    try:
        return json.loads(b"".join(line))
    except (ValueError, RecursionError):
        return None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name of its own
        return str(number)
