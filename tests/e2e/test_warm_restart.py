"""A warm restart under load: a new process takes over, and no client notices."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from runtime_ext import GRPC_SESSION
from tests.e2e.grpc_calls import raw
from tests.e2e.load import Load
from tests.e2e.server import HANGS_AFTER_S, Server
from tests.e2e.successors import OWN, owner, restart, succeeded
from tests.seam.models import doubling, scaling
from tests.waiting import wait_until

BODY = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
X = np.asarray([[1, 2, 3, 4]], np.float32)
TRIALS = "trtserve-trials"  # the name of the process that trial loads are forked from
AT_THE_GATE = """
import os
if "_TRTSERVE_INHERITED" in os.environ and os.path.exists(os.environ["GATE"]):
    if open(os.environ["GATE"]).read() == "end":
        os._exit(7)
"""

pytestmark = pytest.mark.skipif(not GRPC_SESSION, reason="grpc.aio cannot hand its socket over")


class Gate:
    """A FIFO that the successor reads before anything else, if there is one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def close(self) -> None:
        os.mkfifo(self.path)

    def open(self, word: str = "") -> None:
        """Let the successor go on; the word `end` ends it."""
        self.path.write_text(word)
        self.path.unlink()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")


@pytest.fixture
def running(tmp_path: Path, gate: Gate) -> Iterator[Server]:
    """A server with the engine `net`; whoever serves its store is ended with it."""
    (tmp_path / "sitecustomize.py").write_text(AT_THE_GATE)
    server = Server(tmp_path / "store", "--restart-timeout-s", "30", "--drain-s", "10", *OWN, grpc=True)
    server.variables |= {"PYTHONPATH": str(tmp_path), "GATE": str(gate.path)}
    with succeeded(server):
        add(server, "net", doubling(tmp_path / "doubling.onnx").read_bytes()).raise_for_status()
        yield server


def add(server: Server, name: str, plan: bytes) -> httpx.Response:
    with httpx.Client(base_url=server.client.base_url, timeout=HANGS_AFTER_S) as client:
        return client.post("/engines", params={"name": name}, content=plan)


def children(server: Server) -> list[int]:
    return [child.pid for child in psutil.Process(server.process.pid).children() if child.name() != TRIALS]


@pytest.fixture
def plan(tmp_path: Path) -> bytes:
    """Of another engine than `net`."""
    return scaling(tmp_path / "scaling.onnx", 5).read_bytes()


def test_no_request_is_lost_and_no_connection_refused(running: Server, plan: bytes) -> None:
    load = Load(running)
    load.go_on()
    successor = restart(running)
    load.go_on()
    load.end()
    assert add(running, "more", plan).status_code == 201
    names = {e["name"] for e in httpx.get(f"{running.client.base_url}/engines").json()["engines"]}
    assert names == {"net", "more"}
    assert successor.is_running()
    assert "Traceback" not in running.log


def test_connections_that_were_open_move_with_their_next_request(tmp_path: Path, plan: bytes) -> None:
    options = ("--drain-s", "600", "--idle-timeout-s", "600", *OWN)
    with (
        Server(tmp_path / "store", *options, grpc=True) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        add(server, "net", plan).raise_for_status()
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        stub.ModelInfer(raw("net", X))
        asks = {
            "/engines/net/infer": lambda client, path: client.post(path, json=BODY),  # the short way
            "/engines/net": lambda client, path: client.get(path),  # the long way
        }
        kept = httpx.Limits(keepalive_expiry=None)  # however long the successor takes
        clients = {
            path: httpx.Client(base_url=server.client.base_url, timeout=HANGS_AFTER_S, limits=kept)
            for path in asks
        }
        for path, client in clients.items():
            assert "connection" not in asks[path](client, path).headers
        server.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "serves; this one ends" in server.log, "the successor")
        try:
            # Counts begin at 0 in the successor.
            wait_until(lambda: _counted(stub) == 0, "an answer of the successor over gRPC")
            wait_until(lambda: "connection" in clients["/engines/net"].get("/health/live").headers, "the end")
            server.client.close()
            answer = asks["/engines/net/infer"](clients["/engines/net/infer"], "/engines/net/infer")
            assert (answer.status_code, answer.headers["connection"]) == (200, "close")
            assert server.process.wait(HANGS_AFTER_S) == 0
        finally:
            for client in clients.values():
                client.close()
            psutil.Process(owner(server)).terminate()


def _counted(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> int:
    """How often `net` has run in the process that answers."""
    (found,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name="net")).model_stats
    return int(found.execution_count)


def test_a_successor_can_be_succeeded(running: Server, plan: bytes) -> None:
    first = restart(running)
    (trials,) = (child for child in first.children() if child.name() == TRIALS)
    held = [Path(each.path).name for each in trials.open_files()]
    assert "LOCK" not in held  # which would outlive its server
    assert [each for each in trials.net_connections() if each.status == psutil.CONN_LISTEN] == []
    assert add(running, "more", plan).status_code == 201
    os.kill(first.pid, signal.SIGUSR2)
    wait_until(lambda: not first.is_running(), "the end of the first successor")
    assert owner(running) not in {first.pid, running.process.pid}
    assert httpx.post(f"{running.client.base_url}/engines/net/infer", json=BODY).status_code == 200


def test_while_the_new_process_loads_changes_are_refused_for_now_and_requests_are_not(
    running: Server, gate: Gate, plan: bytes
) -> None:
    gate.close()
    running.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: "loads the engines" in running.log, "the new process")
    for refused in (
        running.client.post("/engines", content=plan),
        running.client.delete("/engines/net"),
        running.client.post("/v2/repository/models/net/unload"),
    ):
        assert (refused.status_code, refused.json()["code"]) == (503, "Unavailable"), refused.text
        assert "being replaced by a new process" in refused.json()["error"]
        assert int(refused.headers["Retry-After"]) > 0
    assert running.client.post("/engines/net/infer", json=BODY).status_code == 200
    assert running.client.get("/health/ready").status_code == 200
    gate.open()
    assert running.process.wait(HANGS_AFTER_S) == 0
    assert httpx.post(f"{running.client.base_url}/engines/net/infer", json=BODY).status_code == 200


def test_if_the_new_process_ends_the_old_one_goes_on(running: Server, gate: Gate, plan: bytes) -> None:
    load = Load(running)
    gate.close()
    running.process.send_signal(signal.SIGUSR2)
    gate.open("end")
    wait_until(lambda: "this process serves on" in running.log, "the end of the attempt")
    load.go_on()
    assert owner(running) == running.process.pid
    assert add(running, "more", plan).status_code == 201
    restart(running)
    load.go_on()
    load.end()
    assert httpx.get(f"{running.client.base_url}/engines/more").json()["state"] == "READY"


def test_a_new_process_that_cannot_load_what_the_old_one_serves_does_not_take_over(running: Server) -> None:
    (file,) = (running.store / "plans").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    running.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: "this process serves on" in running.log, "the end of the attempt")
    assert "is served by the former process, and not here" in running.log
    assert children(running) == []
    assert running.client.post("/engines/net/infer", json=BODY).status_code == 200
    file.write_bytes(whole)
    restart(running)


def test_a_new_process_that_takes_too_long_is_ended(tmp_path: Path, gate: Gate, plan: bytes) -> None:
    (tmp_path / "sitecustomize.py").write_text(AT_THE_GATE)
    server = Server(tmp_path / "store", "--restart-timeout-s", "0.2")
    server.variables |= {"PYTHONPATH": str(tmp_path), "GATE": str(gate.path)}
    with server:
        gate.close()
        server.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "this process serves on" in server.log, "the end of the attempt")
        assert "has not loaded the engines within 0.2 s" in server.log
        assert children(server) == []
        assert add(server, "more", plan).status_code == 201


def test_a_stop_during_a_warm_restart_ends_both(running: Server, gate: Gate) -> None:
    gate.close()
    running.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: "loads the engines" in running.log, "the new process")
    (successor,) = children(running)
    running.process.terminate()
    assert running.process.wait(HANGS_AFTER_S) == 0
    assert not psutil.pid_exists(successor)


@pytest.mark.parametrize("option", ["aio"])
def test_a_server_that_cannot_hand_over_says_why_and_goes_on(
    tmp_path: Path, option: str, plan: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "grpc_server", option)
    with Server(tmp_path / "store", grpc=True) as server:
        server.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "no warm restart: grpc.aio" in server.log, "the reason")
        assert add(server, "net", plan).status_code == 201
