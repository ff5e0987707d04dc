"""Slow or numerous clients of a whole server, over HTTP and over gRPC."""

import json
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.grpc_calls import X, only_output, raw, stub
from tests.e2e.server import Server
from tests.e2e.test_grpc_connections import GOAWAY, PREFACE, frames
from tests.seam.models import doubling, write_onnx
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("each_grpc_server")

SETTINGS_ACK = b"\x00\x00\x00\x04\x01" + bytes(4)
WINDOW_UPDATE = b"\x00\x00\x04\x08\x00" + bytes(4) + b"\x00\x00\x00\x01"
HALF = {"http": b"GET /health/live HTTP/1.1\r\nHost", "grpc": PREFACE[:10]}
GET = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
MIB = 1024**2


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory, each_grpc_server: None) -> Iterator[Server]:
    """A server with short timeouts; what other tests send first must arrive within that of a head."""
    options = ["--header-timeout-s", "2", "--idle-timeout-s", "0.1", "--body-timeout-s", "1"]
    options += ["--write-timeout-s", "0.1", "--grpc-max-connection-idle-s", "5"]
    options += ["--grpc-keepalive-timeout-s", "0.5"]
    with Server(tmp_path_factory.mktemp("hasty") / "store", *options, grpc=True) as server:
        yield server


def connect(server: Server, protocol: str, receive_buffer: int | None = None) -> socket.socket:
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(60)
    url = server.client.base_url
    host, _, port = server.grpc_address.rpartition(":")
    connection.connect((url.host, url.port) if protocol == "http" else (host, int(port)))
    return connection


def all_of(connection: socket.socket) -> bytes:
    """Read to the end of the connection."""
    received = b""
    try:
        while data := connection.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    return received


def test_connections_without_a_whole_head_are_ended(hasty: Server) -> None:
    asked = [(protocol, half) for protocol in HALF for half in (False, True)]
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(hasty, protocol)) for protocol, _ in asked]
        for (protocol, half), connection in zip(asked, connections, strict=True):
            if half:
                connection.sendall(HALF[protocol])
        received = [all_of(connection) for connection in connections]
    refused = [begin.startswith(b"HTTP/1.1 408 ") for begin in received]
    assert refused == [(protocol, half) == ("http", True) for protocol, half in asked]


def test_a_connection_that_never_acknowledges_the_settings_is_ended(hasty: Server) -> None:
    with connect(hasty, "grpc") as connection:
        connection.sendall(PREFACE)
        assert any(kind == GOAWAY and b"settings" in payload for kind, _, payload in frames(connection))


def test_an_idle_connection_is_ended(hasty: Server) -> None:
    with connect(hasty, "http") as connection:
        connection.sendall(GET)
        assert all_of(connection).startswith(b"HTTP/1.1 200 ")


def test_an_idle_connection_is_ended_over_grpc(hasty: Server) -> None:
    with connect(hasty, "grpc") as connection:
        connection.sendall(PREFACE + SETTINGS_ACK)
        assert any(kind == GOAWAY and b"idle" in payload for kind, _, payload in frames(connection))


@pytest.mark.parametrize("path", ["/engines/none/infer", "/nowhere", "/engines"])
def test_a_body_that_never_comes_ends_its_connection(hasty: Server, path: str) -> None:
    with connect(hasty, "http") as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {MIB}\r\n\r\n".encode())
        status = b"408" if path == "/engines" else b"404"
        assert all_of(connection).startswith(b"HTTP/1.1 " + status)


# -- clients that do not read


def wide(path: Path) -> bytes:
    """A model with an output of 8 MiB for an input of one number."""
    expand = helper.make_node("Expand", ["x", "shape"], ["y"])
    shape = numpy_helper.from_array(np.array([2 * MIB]), "shape")
    x, y = (TensorProto.FLOAT, [1]), (TensorProto.FLOAT, [2 * MIB])
    return write_onnx(path, [expand], {"x": x}, {"y": y}, [shape]).read_bytes()


def send_request(protocol: str) -> bytes:
    """Send a request for that model on a new connection."""
    if protocol == "http":
        x = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}
        body = json.dumps({"inputs": [x], "parameters": {"binary_data_output": True}}).encode()
        return b"POST /engines/wide/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )
    windows = PREFACE[:24] + frame(4, 0, 0, b"\x00\x04\x7f\xff\xff\xff") + frame(8, 0, 0, b"\x7f\x00\x00\x00")
    message = raw("wide", np.ones(1, np.float32)).SerializeToString()
    prefixed = b"\x00" + len(message).to_bytes(4, "big") + message
    return windows + SETTINGS_ACK + headers("ModelInfer") + frame(0, 1, 1, prefixed)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers(method: str, stream: int = 1) -> bytes:
    """The frame that begins a call, with uncompressed headers: RFC 7541, 6.2.2."""
    fields = {":path": f"/inference.GRPCInferenceService/{method}", ":authority": "x", "te": "trailers"}
    fields["content-type"] = "application/grpc"
    literal = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    return frame(1, 4, stream, b"\x83\x86" + literal)  # POST, http


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_client_that_reads_nothing_is_ended(hasty: Server, tmp_path: Path, protocol: str) -> None:
    plan = wide(tmp_path / "wide.onnx")
    httpx.post(f"{hasty.client.base_url}/engines?name=wide", content=plan, timeout=60).raise_for_status()
    with connect(hasty, protocol, receive_buffer=4096) as connection:
        connection.sendall(send_request(protocol))

        broken = select.poll()
        broken.register(connection, select.POLLHUP)

        def ended() -> bool:
            """Send a byte, which fails on a closed connection and restarts the server's timer."""
            try:
                connection.sendall(b"\r\n" if protocol == "http" else WINDOW_UPDATE)
            except ConnectionError:
                return True
            return bool(broken.poll(3000))

        wait_until(ended, "the end of the connection")


def test_a_stream_without_a_window_releases_its_bytes_in_time(tmp_path: Path) -> None:
    """A few such clients could otherwise hold the bytes of all requests."""
    limits = ["--max-request-bytes", str(MIB), "--max-inflight-bytes", str(2 * MIB)]
    limits += ["--write-timeout-s", "1", "--drain-s", "0"]
    x = np.zeros((4096, 4), np.float32)
    plan = doubling(tmp_path / "double.onnx").read_bytes()
    with Server(tmp_path / "store", *limits, grpc=True) as server, connect(server, "grpc") as connection:
        server.client.post("/engines?name=double", content=plan).raise_for_status()
        connection.sendall(PREFACE + SETTINGS_ACK + headers("ModelStreamInfer"))
        message = raw("double", x).SerializeToString()
        prefixed = b"\x00" + len(message).to_bytes(4, "big") + message
        for sent in [prefixed] * 3:
            for at in range(0, len(sent), 16384):
                connection.sendall(frame(0, 0, 1, sent[at : at + 16384]))

        def given_up() -> bool:
            return server.metric("trtserve_errors_total", code="DeadlineExceeded") == 1

        wait_until(given_up, "the end of the stream")
        with stub(server) as service:
            assert (only_output(service.ModelInfer(raw("double", x))) == x).all()
        assert "Traceback" not in server.log


# -- many clients


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_connections_over_the_limit_are_closed_at_once(tmp_path: Path, protocol: str) -> None:
    limits = ("--max-connections", "8", "--max-connections-per-address", "8")
    with Server(tmp_path / "store", *limits, grpc=True) as server, ExitStack() as opened:
        used = [opened.enter_context(connect(server, protocol)) for _ in range(8)]
        for connection in used:
            connection.sendall(GET if protocol == "http" else PREFACE)
            assert connection.recv(9)
        over = opened.enter_context(connect(server, protocol))
        assert all_of(over)[:12] == (b"HTTP/1.1 503" if protocol == "http" else b"")
        used[0].close()

        def room() -> bool:
            with connect(server, protocol) as connection:
                connection.sendall(GET if protocol == "http" else PREFACE)
                try:
                    return connection.recv(12) not in {b"", b"HTTP/1.1 503"}
                except ConnectionResetError:
                    return False

        wait_until(room, "room for another connection")


def test_slow_bodies_do_not_block_other_clients(tmp_path: Path, plan: bytes) -> None:
    with Server(tmp_path / "store", grpc=True) as server, ExitStack() as opened:
        server.client.post("/engines?name=double", content=plan).raise_for_status()
        head = f"POST /engines/double/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {256 * MIB}\r\n".encode()
        for way in (b"", b"Expect: nothing\r\n"):
            for _ in range(20):
                slow = opened.enter_context(connect(server, "http"))
                slow.sendall(head + way + b"\r\n{")
        x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
        answer = server.client.post("/engines/double/infer", json={"inputs": [x]})
        assert answer.json()["outputs"][0]["data"] == [2, 4, 6, 8]
        with stub(server) as service:
            assert (only_output(service.ModelInfer(raw("double", X))) == 2 * X).all()
