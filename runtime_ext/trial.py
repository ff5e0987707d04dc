"""Loads plans in processes of their own: for those that nobody has deserialized here before, or that crashed
a server.

A host is a process that has imported all that a load needs, and forks a child for each trial: that takes
milliseconds, where an import takes seconds. Whatever a plan does to the child, the server goes on.

The host is asked on a Unix socket, a message a trial, which brings two sockets along. On the first the child
reads one line of JSON, the request, and writes another, its report: {"ok": true}, or {"kind": …, "message":
…} as the runtime raised it; at its end the host adds {"exit": …}, its exit code as subprocess has it. The
second gets what the child and its libraries print. Whoever closes the first socket ends the child. All end
with the process that asks.
"""

import ctypes
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from runtime_ext import Error, LoadOptions, take_log
from runtime_ext.backends import TensorRtOptions, create_runtime

TRIAL_ID = 1  # the process holds no other engine
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
FIRST_TO_BE_KILLED = b"1000"  # when memory runs out: see proc(5), oom_score_adj


class Request(TypedDict):
    """What to load, and with which runtime; see LoadOptions and TensorRtOptions."""

    plan: str
    backend: str
    options: dict[str, Any]
    library: str | None
    plugins: list[str]
    allow_host_code: bool


class Trial(NamedTuple):
    child: int
    connection: socket.socket


def attempt(request: Request) -> dict[str, Any]:
    """Load and unload the plan, and run nothing; the report."""
    library = request["library"]
    tensorrt = TensorRtOptions(
        library=None if library is None else Path(library),
        plugins=tuple(map(Path, request["plugins"])),
        allow_host_code=request["allow_host_code"],
    )
    options = LoadOptions(**request["options"] | {"name": "trial", "instances": 1})
    try:
        runtime = create_runtime(tensorrt=tensorrt)
        runtime.load(TRIAL_ID, request["plan"], request["backend"], options)
        runtime.unload(TRIAL_ID, 0.0)
        runtime.close()
    except Error as failure:
        return {"kind": failure.kind, "message": str(failure), "retry_after": failure.retry_after}
    finally:
        for record in take_log():
            print(f"{record.severity}: {record.component}: {record.message}", file=sys.stderr)
    return {"ok": True}


def main() -> None:
    """`python -m runtime_ext.trial N`: the host whose socket is the descriptor N."""
    serve(socket.socket(fileno=int(sys.argv[1])))


def fork_host() -> tuple[int, socket.socket]:
    """A host that is a copy of this process, and the socket to ask it on: before there are threads, files and
    GPUs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    host = os.fork()
    if host == 0:
        try:
            ours.close()
            serve(theirs)
        finally:
            os._exit(1)
    theirs.close()
    return host, ours


def serve(control: socket.socket) -> None:
    """Run trials until the other end of the socket is closed; does not return."""
    os.setsid()  # a Ctrl-C in the server's terminal is not meant for it
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_NAME, b"trtserve-trials")
    gc.freeze()
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(woken, select.POLLIN)
    trials: dict[int, Trial] = {}  # by the descriptor of the connection
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == woken.fileno():
                with suppress(BlockingIOError):
                    woken.recv(4096)
                for ended in _reap(trials):
                    with suppress(KeyError):
                        poll.unregister(ended)
            elif descriptor == control.fileno():
                trial = _begin(control, [control, woken, wake, *(t.connection for t in trials.values())])
                if trial is not None:
                    trials[trial.connection.fileno()] = trial
                    poll.register(trial.connection, select.POLLRDHUP)
            elif descriptor in trials:
                poll.unregister(descriptor)
                os.kill(trials[descriptor].child, signal.SIGKILL)


def _begin(control: socket.socket, not_the_childs: list[socket.socket]) -> Trial | None:
    """Fork the child of the next trial; None where that cannot be. Ends the process where nobody asks any
    more."""
    asked, descriptors, _, _ = socket.recv_fds(control, 1, 2)
    if not asked:
        os._exit(0)  # and so do the children, by PR_SET_PDEATHSIG
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    host = os.getpid()
    try:
        connection, said = sockets  # fewer where this process has no more descriptors
        child = os.fork()
    except (ValueError, OSError) as failure:
        print(f"no trial can be forked: {failure}", file=sys.stderr)
        for each in sockets:
            each.close()
        return None
    if child == 0:
        try:
            for other in not_the_childs:
                other.close()
            _try(connection, said, host)
        finally:
            os._exit(1)
    said.close()
    return Trial(child, connection)


def _reap(trials: dict[int, Trial]) -> list[int]:
    """Tell how the children ended that have ended; the descriptors of their trials."""
    ended = []
    for descriptor, trial in list(trials.items()):
        child, status = os.waitpid(trial.child, os.WNOHANG)
        if child == 0:
            continue
        exit_code = os.waitstatus_to_exitcode(status)
        with suppress(OSError):  # nobody listens any more
            trial.connection.sendall(
                b"\n" + json.dumps({"exit": exit_code}).encode() + b"\n", socket.MSG_DONTWAIT
            )
        del trials[descriptor]
        trial.connection.close()
        ended.append(descriptor)
    return ended


def _try(connection: socket.socket, said: socket.socket, host: int) -> None:
    """The child: one trial. Does not return."""
    _bind_to(host)
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    request: Request = json.loads(connection.makefile("rb").readline())
    try:
        connection.sendall(json.dumps(attempt(request)).encode() + b"\n")
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # not through the exit handlers of the libraries: the report is given


def _bind_to(host: int) -> None:
    """End with the host, and before the server where memory runs out; leave no core behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host:
        os._exit(1)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_bytes(FIRST_TO_BE_KILLED)


if __name__ == "__main__":
    main()
