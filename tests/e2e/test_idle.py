"""A server whose engines have nothing to do."""

import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

from tests.e2e.server import Server
from tests.seam.models import doubling

ENGINES = 12
WATCHED_S = 3.0

# uvicorn's loop wakes ten times a second, for its date and its exit flag; everything else waits for
# descriptors and conditions. The bound is ten times that, for switches that the system forces on a busy
# machine. A single thread that polls each millisecond makes a thousand.
SWITCHES_PER_S = 100
MOST_CPU = 0.1  # of a core, for a thread that spins without a switch: it takes a whole one


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Server]:
    """A server with engines that have answered requests."""
    with Server(tmp_path / "store", "--trial-load", "off", grpc=True) as server:
        add_engines(server, tmp_path)
        yield server


def add_engines(server: Server, folder: Path) -> None:
    model = onnx.load(str(doubling(folder / "doubling.onnx")))
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    for number in range(ENGINES):
        name = model.graph.name = f"idle-{number}"  # another plan, and so another engine
        plan = model.SerializeToString()
        server.client.post("/engines", params={"name": name}, content=plan).raise_for_status()
        for _ in range(3):
            server.client.post(f"/engines/{name}/infer", json=body).raise_for_status()


def switches(server: Server) -> int:
    """The context switches of all threads, by their own will and forced."""
    threads = Path(f"/proc/{server.process.pid}/task").iterdir()
    counts = (re.findall(r"ctxt_switches:\s+(\d+)", (thread / "status").read_text()) for thread in threads)
    return sum(int(count) for each in counts for count in each)


def cpu_seconds(server: Server) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_an_idle_server_with_engines_burns_no_cpu(idle: Server) -> None:
    before, cpu_before, began = switches(idle), cpu_seconds(idle), time.monotonic()
    threading.Event().wait(WATCHED_S)  # nothing is to happen, so there is nothing to wait for
    watched_s = time.monotonic() - began
    assert switches(idle) - before < SWITCHES_PER_S * watched_s
    assert cpu_seconds(idle) - cpu_before < MOST_CPU * watched_s
