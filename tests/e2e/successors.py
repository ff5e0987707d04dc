"""Warm restarts of a server process, and whoever serves its store then."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.e2e.server import HANGS_AFTER_S, Server
from tests.waiting import wait_until

OWN = ("--grpc-server", "auto")  # also where other tests have grpc.aio: it cannot hand over


def owner(server: Server) -> int:
    """The process that the store's lock names."""
    return int((server.store / "LOCK").read_text())


def restart(server: Server) -> psutil.Process:
    """Begin a warm restart; return the successor once it serves and this process has ended."""
    before = server.process.pid
    server.process.send_signal(signal.SIGUSR2)
    assert server.process.wait(HANGS_AFTER_S) == 0, server.log
    assert owner(server) != before
    return psutil.Process(owner(server))


@contextmanager
def succeeded(server: Server) -> Iterator[Server]:
    """Start the server; at the end, whoever serves its store is ended with it."""
    with server:
        yield server
        if owner(server) != server.process.pid:
            successor = psutil.Process(owner(server))
            successor.terminate()
            wait_until(lambda: not successor.is_running(), "the end of the successor")
