"""Inference over raw connections to a whole server: pipelined, in pieces, abandoned, stopped."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from tests.e2e.server import HANGS_AFTER_S, Server
from tests.waiting import wait_until

LARGE = np.ones((4096, 512), np.float32)  # keeps the slow engine busy for a second or two on few cores
SMALL = LARGE[:1]


class Connection:
    """A raw connection that sends bytes and returns an answer's status, headers and body."""

    def __init__(self, server: Server) -> None:
        url = server.client.base_url
        self._socket = socket.create_connection((url.host, url.port), timeout=120)
        self._file = self._socket.makefile("rb")

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], bytes] | None:
        """Return the next answer; None at the end of the connection."""
        line = self._file.readline()
        if not line:
            return None
        headers = {}
        while (header := self._file.readline()) != b"\r\n":
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return int(line.split()[1]), headers, self._file.read(int(headers["content-length"]))

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def binary(x: np.ndarray, name: str = "double") -> bytes:
    described = {
        "name": "x",
        "shape": x.shape,
        "datatype": "FP32",
        "parameters": {"binary_data_size": x.nbytes},
    }
    document = json.dumps({"inputs": [described], "parameters": {"binary_data_output": True}}).encode()
    head = (
        f"POST /engines/{name}/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(document) + x.nbytes}\r\n"
        f"Inference-Header-Content-Length: {len(document)}\r\n\r\n"
    )
    return head.encode() + document + x.tobytes()


def y_of(answer: tuple[int, dict[str, str], bytes] | None) -> np.ndarray:
    assert answer is not None
    status, headers, body = answer
    assert status == 200, body
    return np.frombuffer(body[int(headers["inference-header-content-length"]) :], np.float32)


@pytest.fixture
def double(server: Server, plan: bytes) -> Server:
    """A server with the engine `double`."""
    server.client.post("/engines", params={"name": "double"}, content=plan).raise_for_status()
    return server


@pytest.fixture
def connection(server: Server) -> Iterator[Connection]:
    connection = Connection(server)
    yield connection
    connection.close()


def test_pipelined_requests_of_every_kind_are_answered_in_order(
    double: Server, connection: Connection
) -> None:
    get = b"GET /engines/double HTTP/1.1\r\nHost: x\r\n\r\n"
    unknown = binary(np.ones((1, 4), np.float32), "none")
    sent: list[bytes] = []
    for number in range(100):
        sent.append(binary(np.full((1 + number % 3, 4), number, np.float32)))
        if number % 7 == 0:
            sent.append(get)
        if number % 11 == 0:
            sent.append(unknown)
    connection.send(b"".join(sent))
    for number in range(100):
        assert (y_of(connection.answer()) == 2 * number).all()
        if number % 7 == 0:
            answer = connection.answer()
            assert answer is not None
            assert json.loads(answer[2])["name"] == "double"
        if number % 11 == 0:
            answer = connection.answer()
            assert answer is not None
            assert answer[0] == 404


def test_a_large_body_in_small_pieces_is_served(double: Server, connection: Connection) -> None:
    x = np.arange(400_000, dtype=np.float32).reshape(-1, 4)
    whole = binary(x)
    for at in range(0, len(whole), 997):
        connection.send(whole[at : at + 997])
    assert np.array_equal(y_of(connection.answer()), 2 * x.ravel())
    connection.send(binary(x[:1]))
    assert np.array_equal(y_of(connection.answer()), 2 * x[0])


def test_a_client_that_leaves_while_waiting_is_counted_as_cancelled(server: Server, big_plan: bytes) -> None:
    options = {"name": "slow", "instances": 1}
    server.client.post("/engines", params=options, content=big_plan).raise_for_status()
    before = server.metric("trtserve_errors_total", code="Cancelled")
    connections = [Connection(server) for _ in range(3)]
    connections[0].send(binary(LARGE, "slow"))
    server.wait_until_busy("slow")
    for connection in connections[1:]:
        connection.send(binary(SMALL, "slow"))
    server.wait_until_queued("slow", 2)
    for connection in connections:
        connection.close()

    def ended(outcome: str) -> float:
        return server.metric("trtserve_requests_total", engine="slow", outcome=outcome)

    wait_until(lambda: ended("Cancelled") == 2, "the cancellation of the two waiting requests")
    wait_until(lambda: ended("Success") == 1, "the end of the running request")
    assert server.metric("trtserve_errors_total", code="Cancelled") == before + 3


def test_a_stop_waits_for_requests_no_longer_than_the_drain_time(tmp_path: Path, plan: bytes) -> None:
    with Server(tmp_path / "store", "--drain-s", "1") as server:
        server.client.post("/engines", params={"name": "double"}, content=plan).raise_for_status()
        half = binary(np.ones((1, 4), np.float32))[:-1]
        ways = (half, half.replace(b"\r\n", b"\r\nExpect: nothing\r\n", 1))
        held = [Connection(server) for _ in ways]
        for connection, sent in zip(held, ways, strict=True):
            connection.send(sent)
        server.client.get("/health/live")  # by now, everything sent earlier has been read
        server.process.terminate()
        answers = [connection.answer() for connection in held]
        for answer in answers:
            assert answer is not None
            assert (answer[0], answer[1]["connection"]) == (503, "close")
            assert json.loads(answer[2])["code"] == "Unavailable"
            assert json.loads(answer[2])["error"].startswith("The server is stopping")
        server.process.wait(HANGS_AFTER_S)
        assert server.stop() == 0
        assert "Traceback" not in server.log


def test_a_stop_answers_requests_under_way_on_every_kind_of_connection(
    tmp_path: Path, big_plan: bytes
) -> None:
    with Server(tmp_path / "store") as server:
        options = {"name": "slow", "instances": 1}
        server.client.post("/engines", params=options, content=big_plan).raise_for_status()
        idle, begun, *busy = [Connection(server) for _ in range(5)]
        small = binary(SMALL, "slow")
        idle.send(small)
        assert len(y_of(idle.answer())) == 512
        kinds = ("Connection: close", "Expect: nothing", "X: y")
        for connection, headers, x in zip(busy, kinds, (LARGE, SMALL, SMALL), strict=True):
            body = save({"x": x})
            head = f"POST /engines/slow/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            whole = f"{head}{headers}\r\nContent-Type: application/x-safetensors\r\n\r\n".encode() + body
            connection.send(whole)
            server.wait_until_busy("slow")
        server.wait_until_queued("slow", 2)
        begun.send(small[:-4])
        server.client.get("/health/live")  # by now, everything sent earlier has been read
        server.process.terminate()
        assert idle.answer() is None
        begun.send(small[-4:])
        for connection in (begun, *busy):
            answer = connection.answer()
            assert answer is not None
            assert (answer[0], answer[1]["connection"]) == (200, "close")
            assert connection.answer() is None
        server.process.wait(HANGS_AFTER_S)
        assert server.stop() == 0
        assert "Traceback" not in server.log
