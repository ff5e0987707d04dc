"""Loads plans in separate processes: plans that were never deserialized here, or that crashed a server.

A host is a process that has imported everything that a load needs, and forks a child for each trial: a fork
takes milliseconds, an import seconds. Whatever a plan does to the child, the server continues.

The server requests trials on a Unix socket, one message per trial, which carries two sockets. On the first,
the child reads one line of JSON, the request, and writes another, its report: {"ok": true}, or {"kind": …,
"message": …} as the runtime raised it; when the child ends, the host adds {"exit": …}, the exit code as in
subprocess. If there is no process for a child, the host writes {"not_forked": …}, the reason. The second
receives the output of the child and its libraries. Closing the first socket ends the child. The host and its
children end with the server.

An engine that is batched if it can be is also run, to find out whether it can (batch_check.py): the child
writes {"checking": true} before, and its report has "why_not_joined". A child that ends in between has loaded
the plan. SIGALRM ends it if an execution does not.

A TorchScript module is inspected instead of loaded, because the child has none of the engines that it calls.
Its report has "uses": {"ids": [...], "names": [...]}, those engines by ID and by name.
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
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from runtime_ext import (
    AUTO_BATCH_SIZE,
    EngineInfo,
    Error,
    LoadOptions,
    Runtime,
    available_host_memory,
    take_log,
)
from runtime_ext.archive import inspect_module
from runtime_ext.backends import TensorRtOptions, create_runtime
from runtime_ext.batch_check import why_not_joined
from runtime_ext.child import bind_to

MODULES = "torchscript"  # the backend whose plans are modules
TRIAL_ID = 1  # the process holds no other engine
CHECK_S = 4.0  # for a whole check: its budget, and an execution that begins at its end
KIB = 1024
LEFT = 256 * KIB * KIB  # bytes of the memory that is available, for the server
PR_SET_NAME = 15


class Request(TypedDict):
    """The plan to load, and the runtime's settings; see LoadOptions and TensorRtOptions."""

    plan: str
    backend: str
    options: dict[str, Any]
    libraries: list[str]
    plugins: list[str]
    allow_host_code: bool


class Trial(NamedTuple):
    child: int
    connection: socket.socket


def attempt(request: Request, checking: Callable[[], None] | None = None) -> dict[str, Any]:
    """Load and unload the plan; return the report. `checking` is called before the engine is run, if it is to
    be checked whether it can be batched; None: it is not run."""
    tensorrt = TensorRtOptions(
        libraries=tuple(map(Path, request["libraries"])),
        plugins=tuple(map(Path, request["plugins"])),
        allow_host_code=request["allow_host_code"],
    )
    # On one device: what a plan does to a process, it does on each.
    device = str(request["options"].get("device", "auto")).partition(",")[0].replace("all", "auto")
    options = LoadOptions(**request["options"] | {"name": "trial", "instances": 1, "device": device})
    try:
        runtime = create_runtime(tensorrt=tensorrt)
        if request["backend"] == MODULES:
            return _inspected(runtime, request["plan"], options.tensors)
        info = runtime.load(TRIAL_ID, request["plan"], request["backend"], options)
        report: dict[str, Any] = {"ok": True}
        if checking is not None and info.max_batch_size > 1:
            checking()
            report["why_not_joined"] = _checked(runtime, info, options)
        runtime.unload(TRIAL_ID, 0.0)
        runtime.close()
    except Error as failure:
        return {"kind": failure.kind, "message": str(failure), "retry_after": failure.retry_after}
    finally:
        for record in take_log():
            print(f"{record.severity}: {record.component}: {record.message}", file=sys.stderr)
    return report


def _inspected(runtime: Runtime, path: str, tensors: str) -> dict[str, Any]:
    """Check a module without running it: the engines that it calls are not here."""
    found = inspect_module(runtime, Path(path), tensors)
    runtime.close()
    return {"ok": True, "uses": {"ids": found.engine_ids, "names": found.engine_names}}


def _checked(runtime: Runtime, info: EngineInfo, options: LoadOptions) -> str:
    """Why requests of the engine must not be joined; empty: they may be."""
    signal.setitimer(signal.ITIMER_REAL, CHECK_S)
    try:
        return why_not_joined(runtime, info, options.batch.batch_dims, coarse=options.precision != "f32")
    except Exception:  # the plan is loaded, and serves without batches
        traceback.print_exc()
        return "the check of its batches failed"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def leave_memory() -> None:
    """Let this process take no more memory than is available: a module's source may make torch's compiler ask
    for any amount."""
    available = available_host_memory()
    if available is None:
        return
    status = Path("/proc/self/status").read_text()
    taken = next(int(line.split()[1]) * KIB for line in status.splitlines() if line.startswith("VmData:"))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = taken + max(0, available - LEFT)
    limits = [limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))


def main() -> None:
    """Run a host on the socket with descriptor N: `python -m runtime_ext.trial N`."""
    serve(socket.socket(fileno=int(sys.argv[1])))


def fork_host(not_the_hosts: Iterable[int] = ()) -> tuple[int, socket.socket]:
    """Fork a host from this process; return its process ID and the socket for requests. Call it before this
    process has threads, GPUs or open files, except `not_the_hosts`: descriptors that the host closes."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    host = os.fork()
    if host == 0:
        try:
            ours.close()
            for descriptor in not_the_hosts:
                os.close(descriptor)
            serve(theirs)
        finally:
            os._exit(1)
    theirs.close()
    return host, ours


def serve(control: socket.socket) -> None:
    """Run trials until the other end of the socket is closed, then exit."""
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
    """Fork the child of the next trial; return None if that fails. Ends the process if the server has closed
    its socket."""
    asked, descriptors, _, _ = socket.recv_fds(control, 1, 2)
    if not asked:
        os._exit(0)  # and so do the children, by PR_SET_PDEATHSIG
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    host = os.getpid()
    try:
        connection, said = sockets  # fewer if this process has no more descriptors
        child = os.fork()
    except (ValueError, OSError) as failure:
        print(f"no trial can be forked: {failure}", file=sys.stderr)
        with suppress(OSError, IndexError):  # the server no longer listens, or no socket came
            sockets[0].sendall(json.dumps({"not_forked": str(failure)}).encode() + b"\n")
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
    """Report the exit codes of ended children; return the descriptors of their trials."""
    ended = []
    for descriptor, trial in list(trials.items()):
        child, status = os.waitpid(trial.child, os.WNOHANG)
        if child == 0:
            continue
        exit_code = os.waitstatus_to_exitcode(status)
        with suppress(OSError):  # the server no longer listens
            trial.connection.sendall(
                b"\n" + json.dumps({"exit": exit_code}).encode() + b"\n", socket.MSG_DONTWAIT
            )
        del trials[descriptor]
        trial.connection.close()
        ended.append(descriptor)
    return ended


def _try(connection: socket.socket, said: socket.socket, host: int) -> None:
    """Run one trial as the child, then exit."""
    _bind_to(host)
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    request: Request = json.loads(connection.makefile("rb").readline())

    if request["backend"] == MODULES:
        leave_memory()

    def say(told: dict[str, Any]) -> None:
        connection.sendall(json.dumps(told).encode() + b"\n")

    try:
        if request["options"].get("max_batch_size") == AUTO_BATCH_SIZE:
            say(attempt(request, lambda: say({"checking": True})))
        else:
            say(attempt(request))
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)  # skip the libraries' exit handlers: the report is already written


def _bind_to(host: int) -> None:
    """End with the host, and handle signals as a process that was not forked from it."""
    bind_to(host)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGALRM, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


if __name__ == "__main__":
    main()
