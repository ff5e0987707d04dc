"""Loads in a whole server: trial processes, the server's end during a load, and shortages."""

import resource
import signal
from pathlib import Path

import psutil
import pytest

from tests.e2e.server import Server
from tests.seam.models import scaling
from tests.waiting import HANGS_AFTER_S, wait_until


def open_files(server: Server) -> int:
    return psutil.Process(server.process.pid).num_fds()


def limit_files(server: Server, soft: int) -> None:
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (soft, hard))


def test_a_kill_of_the_server_leaves_no_process_behind(tmp_path: Path, plan: bytes) -> None:
    with Server(tmp_path / "store") as server:
        server.client.post("/engines", content=plan).raise_for_status()
        (host,) = psutil.Process(server.process.pid).children(recursive=True)
        assert host.name() == "trtserve-trials"
        server.kill()
        wait_until(lambda: not host.is_running(), "the end of the trial process")
        server.start()


def test_a_trial_process_that_is_gone_is_replaced(server: Server, tmp_path: Path) -> None:
    (host,) = psutil.Process(server.process.pid).children(recursive=True)
    host.kill()
    answer = server.client.post("/engines", content=scaling(tmp_path / "m.onnx", 77).read_bytes())
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_server_that_ends_while_loading_serves_all_engines_after_the_next_start(
    tmp_path: Path, plan: bytes, big_plan: bytes, number: signal.Signals
) -> None:
    with Server(tmp_path / "store") as server:
        for name, each in (("small", plan), ("big", big_plan)):
            server.client.post("/engines", params={"name": name}, content=each).raise_for_status()
        marks = server.store / "loading"
        for _ in range(3):
            server.stop()
            server.start()
            wait_until(lambda: any(marks.glob("*.json")) or is_ready(server), "a load")
            server.process.send_signal(number)
            server.process.wait(HANGS_AFTER_S)  # not killed: it must record why it ends
            server.kill()
            server.start()
            server.wait_until_ready()
            engines = server.client.get("/engines").json()["engines"]
            assert [(e["name"], e["state"]) for e in engines] == [("small", "READY"), ("big", "READY")]
        assert ("the previous server crashed" in server.log) is (number == signal.SIGSEGV)


def is_ready(server: Server) -> bool:
    return server.client.get("/health/ready").status_code == 200


def test_an_upload_without_free_descriptors_is_refused_for_now(
    server: Server, tmp_path: Path, plan: bytes
) -> None:
    server.client.post("/engines", content=plan).raise_for_status()  # its threads and files are open
    another = scaling(tmp_path / "m.onnx", 78).read_bytes()
    before, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    refused = []
    for free in range(16):
        limit_files(server, before)
        server.client.get("/health/live").raise_for_status()  # the connection is open
        limit_files(server, open_files(server) + free)
        answer = server.client.post("/engines", content=another)
        if answer.status_code == 201:
            server.client.delete(answer.headers["Location"]).raise_for_status()
        else:
            refused.append(answer)
    limit_files(server, before)
    assert len(refused) > 4
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (503, "Unavailable"), answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert str(server.store) not in answer.text
    assert server.client.post("/engines", content=another).status_code == 201


@pytest.mark.parametrize("free_mib", [100, 30, 4])
def test_an_upload_without_free_memory_is_refused_for_now(
    server: Server, tmp_path: Path, plan: bytes, free_mib: int
) -> None:
    server.client.post("/engines", content=plan).raise_for_status()
    another = scaling(tmp_path / "m.onnx", 79).read_bytes()
    process = psutil.Process(server.process.pid)
    before = resource.prlimit(process.pid, resource.RLIMIT_AS)
    limit = process.memory_info().vms + free_mib * 2**20
    resource.prlimit(process.pid, resource.RLIMIT_AS, (limit, before[1]))
    answer = server.client.post("/engines", content=another)
    resource.prlimit(process.pid, resource.RLIMIT_AS, before)
    assert (answer.status_code, answer.json()["code"]) == (503, "Unavailable"), answer.text
    assert int(answer.headers["Retry-After"]) > 0
    assert server.client.post("/engines", content=another).status_code == 201


def test_a_load_without_free_memory_changes_nothing_and_can_be_tried_again(
    server: Server, plan: bytes, big_plan: bytes
) -> None:
    for name, each in (("kept", plan), ("big", big_plan)):
        server.client.post("/engines", params={"name": name}, content=each).raise_for_status()
    server.client.post("/v2/repository/models/big/unload").raise_for_status()
    process = psutil.Process(server.process.pid)
    before = resource.prlimit(process.pid, resource.RLIMIT_AS)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (process.memory_info().vms + 30 * 2**20, before[1]))
    try:
        refused = server.client.post("/v2/repository/models/big/load")
        body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
        answer = server.client.post("/engines/kept/infer", json=body)
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_AS, before)
    assert (refused.status_code, refused.json()["code"]) == (503, "Unavailable"), refused.text
    assert "memory" in refused.json()["error"]
    assert int(refused.headers["Retry-After"]) > 0
    assert answer.json()["outputs"][0]["data"] == [2, 4, 6, 8]
    assert server.client.get("/engines/big").json()["state"] == "UNLOADED"
    assert server.client.post("/v2/repository/models/big/load").status_code == 200
    assert server.client.get("/engines/big").json()["state"] == "READY"
