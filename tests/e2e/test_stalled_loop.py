"""A server whose event loop is held up for real."""

import os
import signal
import socket
import sys
from pathlib import Path

import httpx
import pytest

from tests.e2e.server import Server
from tests.waiting import HANGS_AFTER_S, wait_until

HOLDS_UP = """
import signal, sys

def hold_up(*_):
    open(sys.argv.pop(), "rb").read()  # a FIFO: until the test has closed it

signal.signal(signal.SIGUSR1, hold_up)
from trtserve.cli.main import main
main(["serve", *sys.argv[1:-1]])
"""


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


def test_a_loop_that_is_held_up_answers_no_probe_and_says_where_it_stood(tmp_path: Path, fifo: Path) -> None:
    command = [sys.executable, "-c", HOLDS_UP]
    with Server(tmp_path / "store", "--stall-after-s", "0.5", str(fifo), command=command) as server:
        os.kill(server.process.pid, signal.SIGUSR1)
        with fifo.open("wb"):
            with pytest.raises(httpx.ReadTimeout):
                server.client.get("/health/live", timeout=1)
            wait_until(lambda: "the event loop has not turned" in server.log, "a line of the log")
        wait_until(lambda: "the event loop turns again" in server.log, "another")
        assert "in hold_up" in server.log
        assert server.client.get("/health/live").status_code == 200
        assert server.client.get("/metrics").text.count("trtserve_event_loop_stalls_total 1.0") == 1


def test_systemd_hears_of_the_start_of_each_turn_and_of_the_stop(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(HANGS_AFTER_S)
        server = Server(tmp_path / "store")
        server.variables |= {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        with server:
            assert systemd.recv(4096).decode().split() == ["READY=1", f"MAINPID={server.process.pid}"]
            assert [systemd.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        while (said := systemd.recv(4096)) == b"WATCHDOG=1":
            pass
        assert said == b"STOPPING=1"
