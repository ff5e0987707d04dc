"""Clients that leave, set a short timeout, or come in large numbers."""

import socket
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from tests.e2e.server import Server
from tests.waiting import wait_until

SAFETENSORS = {"Content-Type": "application/x-safetensors"}
LARGE = save({"x": np.ones((4096, 512), np.float32)})  # runs for a second or two on few cores
SMALL = save({"x": np.ones((1, 512), np.float32)})


@pytest.fixture
def slow_engine(server: Server, big_plan: bytes) -> Server:
    """A server with the engine `slow`, which has one instance and a queue of three."""
    options = {"name": "slow", "instances": 1, "max_queue_size": 3}
    server.client.post("/engines", params=options, content=big_plan).raise_for_status()
    return server


def outcome(server: Server, kind: str) -> float:
    return server.metric("trtserve_requests_total", engine="slow", outcome=kind)


def send(server: Server, body: bytes) -> socket.socket:
    """Send a whole request, and read no answer."""
    url = server.client.base_url
    connection = socket.create_connection((url.host, url.port))
    head = f"POST /engines/slow/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    connection.sendall(f"{head}Content-Type: application/x-safetensors\r\n\r\n".encode() + body)
    return connection


def occupied(server: Server, waiting: int) -> list[socket.socket]:
    """A long request that runs, and `waiting` more behind it."""
    connections = [send(server, LARGE)]
    server.wait_until_busy("slow")
    connections += [send(server, SMALL) for _ in range(waiting)]
    server.wait_until_queued("slow", waiting)
    return connections


def test_a_client_that_leaves_while_waiting_frees_its_place(slow_engine: Server) -> None:
    connections = occupied(slow_engine, waiting=3)
    for connection in connections:
        connection.close()
    wait_until(
        lambda: outcome(slow_engine, "Cancelled") == 3, "the cancellation of the three waiting requests"
    )
    wait_until(lambda: outcome(slow_engine, "Success") == 1, "the end of the running request")
    assert ask(slow_engine, SMALL) == 200


def test_a_full_queue_is_refused_with_a_retry_after(slow_engine: Server) -> None:
    connections = occupied(slow_engine, waiting=3)  # fills the queue
    answer = slow_engine.client.post("/engines/slow/infer", content=SMALL, headers=SAFETENSORS)
    assert (answer.status_code, answer.json()["code"]) == (429, "QueueFull")
    assert int(answer.headers["retry-after"]) >= 1
    for connection in connections:
        connection.close()


def test_a_request_past_its_timeout_is_answered_before_its_turn(slow_engine: Server) -> None:
    connections = occupied(slow_engine, waiting=2)
    hurry = SAFETENSORS | {"Inference-Timeout-Ms": "1"}
    answer = slow_engine.client.post("/engines/slow/infer", content=SMALL, headers=hurry)
    assert (answer.status_code, answer.json()["code"]) == (504, "DeadlineExceeded")
    depth = slow_engine.metric("trtserve_queue_depth", engine="slow")
    assert depth > 0, "other requests still wait: the answer came before its turn"
    for connection in connections:
        connection.close()


def ask(server: Server, body: bytes) -> int:
    return server.client.post("/engines/slow/infer", content=body, headers=SAFETENSORS).status_code


def ask_three(server: Server, threads: ThreadPoolExecutor) -> list[Future[int]]:
    """Start a long request and two behind it; return their statuses."""
    answers = [threads.submit(ask, server, LARGE)]
    server.wait_until_busy("slow")
    answers += [threads.submit(ask, server, SMALL) for _ in range(2)]
    server.wait_until_queued("slow", 2)
    return answers


def test_a_delete_finishes_accepted_requests(slow_engine: Server) -> None:
    with ThreadPoolExecutor() as threads:
        answers = ask_three(slow_engine, threads)
        assert slow_engine.client.delete("/engines/slow").status_code == 204
        assert [answer.result() for answer in answers] == [200, 200, 200]


def test_a_stop_finishes_accepted_requests(tmp_path: Path, big_plan: bytes) -> None:
    with Server(tmp_path / "store") as server, ThreadPoolExecutor() as threads:
        options = {"name": "slow", "instances": 1}
        server.client.post("/engines", params=options, content=big_plan).raise_for_status()
        answers = ask_three(server, threads)
        assert server.stop() == 0
        assert [answer.result() for answer in answers] == [200, 200, 200]


def test_many_clients_at_once_each_get_their_own_answer(server: Server, plan: bytes) -> None:
    server.client.post("/engines", params={"name": "double"}, content=plan).raise_for_status()

    def ask(value: int) -> bool:
        x = np.full((1 + value % 5, 4), value, np.float32)
        answer = server.client.post("/engines/double/infer", content=save({"x": x}), headers=SAFETENSORS)
        return answer.status_code == 200 and np.array_equal(load(answer.content)["y"], 2 * x)

    with ThreadPoolExecutor(max_workers=32) as threads:
        assert all(threads.map(ask, range(500)))
