"""Trial loads: a plan that this server has never deserialized is first loaded in a process of its own.

Backends trust the plans that they read: a damaged or hostile one may crash the process, take all of its
memory, or never return. In a trial this happens to a child process (runtime_ext/trial.py), and the server
continues to serve. The child loads the plan. It runs it only to find out whether its requests may be joined,
where that is left open; if that goes wrong, they are not joined, and the load goes on. The child has no
memory limit of its own, because the address space that a plan needs cannot be predicted (CUDA alone reserves
terabytes of it), but the kernel kills it first when memory runs out.
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
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from runtime_ext.backends import TensorRtOptions, built_backends
from trtserve.errors import Unavailable, stopping
from trtserve.formats.backends import BACKENDS, runtime_backend
from trtserve.options.for_runtime import for_runtime
from trtserve.plans.child import (
    FROM_OUTSIDE,
    SAID_CHARACTERS,
    Work,
    failure_of,
    keep_last,
    last_words,
    parsed,
    signal_name,
)
from trtserve.shortage import RETRY_AFTER_S, shortage_behind, shortage_in
from trtserve.store.database import StoredEngine

logger = logging.getLogger(__name__)

T = TypeVar("T")

# -P: do not import from the folder that the server was started in.
COMMAND = (sys.executable, "-P", "-m", "runtime_ext.trial")
REPORT_BYTES = 64 * 1024  # kept from the end of the connection: the report, and how the child ended
KILLED_WITHIN_S = 5.0  # a killed child is gone by then, or it or its host is stuck
TOO_LONG = "an execution did not end within the time of the check"
TRIAL = Work(
    "The plan's trial load in a process of its own",
    "The plan crashed",
    "nothing was loaded",
    " in a trial load",
)


class Checked(NamedTuple):
    """What the check of an engine's batches found."""

    why: str  # requests must not be joined, without a full stop; empty: they may be
    lasting: bool = True  # False: another check may find something else


class References(NamedTuple):
    """The engines that the graph of a module calls."""

    ids: list[int]
    names: list[str]


Found = Checked | References | None
"""What a trial found out: of a module, its references; of a plan, what the check of its batches says, or None
if its options or its tensors leave nothing to check."""

Trial = Callable[[Path, StoredEngine], Awaitable[Found]]
"""Loads the plan at a path with an engine's options, or inspects it if it is a module; raises a TrtserveError
if that fails."""


class HostGone(Unavailable):
    """The process that trials are forked from ended without a word about the plan."""


class Begun(NamedTuple):
    """A trial that a host was asked for."""

    connection: socket.socket  # to its child
    said: socket.socket  # what the child prints
    host: int  # the number of its host


class Trials:
    """Runs trials until stop(). Belongs to one event loop."""

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._running: set[asyncio.Future[Found]] = set()
        self._stopped = False

    async def run(self, plan: Path, engine: StoredEngine) -> Found:
        """Try the plan with the engine's options. Raises what the trial raises; Unavailable after stop()."""
        if self._stopped:
            raise stopping()
        trial = asyncio.ensure_future(self._trial(plan, engine))
        self._running.add(trial)
        try:
            return await trial
        except asyncio.CancelledError:
            if self._stopped:
                raise stopping() from None
            raise
        finally:
            self._running.discard(trial)

    def stop(self) -> None:
        """End the running trials, and refuse new ones."""
        self._stopped = True
        for trial in self._running:
            trial.cancel()


class TrialHost:
    """The process that trials are forked from. Unless one is given, the first trial starts it; a trial that
    finds it gone starts another. Hosts are numbered, so that only the one that lost a trial is ended for it.

    Every method blocks; one thread at a time calls them.
    """

    def __init__(
        self, forked: tuple[int, socket.socket] | None = None, command: Sequence[str] = COMMAND
    ) -> None:
        """`forked` is what fork_host() returned; `command` starts a host, and only tests give another
        one."""
        self._command = tuple(command)
        self._number = 0  # of the host that is there, or was last
        self._process: int | None = None  # its ID
        self._control: socket.socket | None = None
        self._begun: subprocess.Popen[bytes] | None = None  # set if it was not forked
        self._closed = False
        if forked is not None:
            self._process, self._control = forked

    def connect(self) -> Begun:
        """Begin a trial."""
        connection, theirs = socket.socketpair()
        said, their_said = socket.socketpair()
        with theirs, their_said:
            try:
                descriptors = [theirs.fileno(), their_said.fileno()]
                with suppress(OSError):
                    if self._control is not None:
                        socket.send_fds(self._control, [b"?"], descriptors)
                        return Begun(connection, said, self._number)
                self._begin()
                assert self._control is not None
                socket.send_fds(self._control, [b"?"], descriptors)
            except BaseException:
                connection.close()
                said.close()
                raise
        return Begun(connection, said, self._number)

    def close(self) -> None:
        """End the host, and with it the running trials. No other host is started."""
        self._closed = True
        self._end()

    def end(self, number: int, why: str) -> None:
        """End the host of this number, and with it its trials, unless that was done before; the next trial
        starts another."""
        if number == self._number and self._control is not None:
            logger.warning("%s: killing the process that trial loads are forked from", why)
            self._end()

    def _end(self) -> None:
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
            logger.warning("the process that trial loads are forked from is gone: starting another")
        self._end()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            self._begun = subprocess.Popen(
                [*self._command, str(number)], stdin=subprocess.DEVNULL, pass_fds=[number]
            )
        self._control = ours
        self._number += 1


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
        """`backends` are the runtime's backends that may load a plan; None: every backend that is built."""
        self._tensorrt = tensorrt
        self._timeout_s = timeout_s
        self._killed_within_s = killed_within_s
        self._host = host or TrialHost()
        self._backends = tuple(built_backends() if backends is None else backends)
        self._calling = asyncio.Lock()  # held while a thread calls the host

    async def close(self) -> None:
        await self._call(self._host.close)

    async def __call__(self, plan: Path, engine: StoredEngine) -> Found:
        """Try the plan with the engine's options; leave no child behind, even if cancelled."""
        request = await asyncio.to_thread(self._request, plan, engine)
        try:
            return await self._try(request, engine)
        except HostGone:  # not because of this plan, perhaps; the second trial has another host
            return await self._try(request, engine)

    async def _try(self, request: bytes, engine: StoredEngine) -> Found:
        report, said = bytearray(), bytearray()
        try:
            begun = await self._call(self._host.connect)
            child, asking = await asyncio.open_unix_connection(sock=begun.connection)
            words, writing = await asyncio.open_unix_connection(sock=begun.said)
        except OSError as broken:
            raise shortage_behind(broken) or _no_host(str(broken)) from broken
        reading = [
            asyncio.create_task(keep_last(REPORT_BYTES, child, report)),
            asyncio.create_task(keep_last(4 * SAID_CHARACTERS, words, said)),
        ]
        try:
            asking.write(request)
            async with asyncio.timeout(self._timeout_s):
                await asyncio.wait(reading)
        except TimeoutError:
            if _checking(bytes(report)):
                return Checked(TOO_LONG)
            raise Unavailable(
                f"The plan's trial load in a process of its own took longer than {self._timeout_s:g} s and "
                "was ended: nothing was loaded. Try again when the machine is less busy, or start the "
                "server with a higher --trial-load-timeout-s."
            ) from None
        finally:
            with suppress(OSError, RuntimeError):  # it has ended
                asking.write_eof()
            _, stuck = await asyncio.wait(reading, timeout=self._killed_within_s)
            for read in stuck:
                read.cancel()
            if stuck:
                await self._call(partial(self._host.end, begun.host, "a trial load does not end"))
            for end in (asking, writing):
                end.close()
            text = last_words(said)
            logger.debug("trial load of engine %d: %s: %s", engine.id, bytes(report[-200:]), text)
        try:
            return _result(bytes(report), text, engine.backend)
        except HostGone:
            # A process that ends may close what it has taken before its own socket: until then, it would take
            # the next trial too.
            await self._call(partial(self._host.end, begun.host, "a trial load was lost"))
            raise

    async def _call(self, call: Callable[[], T]) -> T:
        """Call the host in a thread, after the calls before; to the end, even if the caller is cancelled."""

        async def alone() -> T:
            async with self._calling:
                return await asyncio.to_thread(call)

        return await asyncio.shield(alone())

    def _request(self, plan: Path, engine: StoredEngine) -> bytes:
        """The request for the child. Blocks, because it reads from the plan which backend loads it."""
        request = {
            "plan": str(plan.absolute()),
            "backend": runtime_backend(engine.backend, plan, self._backends),
            "options": for_runtime(engine.options),
            "libraries": [str(library) for library in self._tensorrt.libraries],
            "plugins": [str(plugin) for plugin in self._tensorrt.plugins],
            "allow_host_code": self._tensorrt.allow_host_code,
        }
        return json.dumps(request).encode() + b"\n"


def _checking(said: bytes) -> bool:
    """True if a trial's output says that the plan is loaded, and that its batches are being checked."""
    return any(parsed([line]) == {"checking": True} for line in said.splitlines())


def _result(said: bytes, words: str, backend: str) -> Found:
    """What a trial's output says. Raises the error that it means."""
    lines = [line for line in said.splitlines() if line]
    match parsed(lines[-1:]):
        case {"exit": int(exit_code)}:
            pass
        case {"not_forked": str(why)}:
            raise shortage_in(why) or Unavailable(_no_trial(why), retry_after=RETRY_AFTER_S)
        case _:
            raise _no_host("the process that they are forked from is gone")
    known = BACKENDS[backend]
    report = parsed(lines[-2:-1])
    if report == {"checking": True}:
        return _ended_in_check(exit_code, words)
    failure = failure_of(TRIAL, report, exit_code, words, library=known.library, crashed=known.crashed)
    if failure is not None:
        raise failure
    match report:
        case {"why_not_joined": str(why)}:
            return Checked(why)
        case {"uses": {"ids": list(ids), "names": list(names)}}:
            return References(ids, names)
    return None


def _ended_in_check(exit_code: int, words: str) -> Checked:
    if exit_code == -signal.SIGALRM:
        return Checked(TOO_LONG)
    if shortage_in(words) is not None:
        return Checked("the check of its batches ran out of memory or threads", lasting=False)
    if exit_code == -signal.SIGKILL:
        return Checked("the check of its batches was killed, as happens when memory runs out", lasting=False)
    if -exit_code in FROM_OUTSIDE:
        return Checked("the check of its batches was ended from outside", lasting=False)
    how = f"signal {signal_name(-exit_code)}" if exit_code < 0 else f"exit code {exit_code}"
    return Checked(f"the process that checked its batches crashed ({how})")


def _no_host(why: str) -> HostGone:
    return HostGone(_no_trial(why), retry_after=RETRY_AFTER_S)


def _no_trial(why: str) -> str:
    return f"The plan got no trial load in a process of its own ({why}): nothing was loaded. Try again."
