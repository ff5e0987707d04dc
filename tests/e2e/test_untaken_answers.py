"""Clients over gRPC that begin calls and answer pings, but open no window for the answers."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.e2e.grpc_calls import X, add, error_count, only_output, raw, refusal, stub
from tests.e2e.server import Server
from tests.e2e.test_grpc_connections import PREFACE
from tests.e2e.test_slow_clients import MIB, SETTINGS_ACK, connect, frame, headers, wide
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("each_grpc_server")

NO_WINDOW = frame(4, 0, 0, b"\x00\x04" + bytes(4))  # settings: streams begin with no window
DATA, HEADERS, RESET, SETTINGS = 0, 1, 3, 4
MOST_STREAMS = b"\x00\x03"


@contextmanager
def taking_nothing(server: Server) -> Iterator[socket.socket]:
    with connect(server, "grpc") as connection:
        connection.sendall(PREFACE[:24] + NO_WINDOW + SETTINGS_ACK)
        yield connection


def begin(connection: socket.socket, method: str, message: bytes, stream: int) -> None:
    prefixed = b"\x00" + len(message).to_bytes(4, "big") + message
    pieces = [prefixed[at : at + 16384] for at in range(0, len(prefixed), 16384)]
    last = len(pieces) - 1
    framed = [frame(DATA, int(place == last), stream, piece) for place, piece in enumerate(pieces)]
    connection.sendall(headers(method, stream) + b"".join(framed))


def frames(connection: socket.socket) -> Iterator[tuple[int, int, int]]:
    """Yield the kind, flags and stream of every frame received."""
    with connection.makefile("rb") as incoming:
        while head := incoming.read(9):
            incoming.read(int.from_bytes(head[:3], "big"))
            yield head[3], head[4], int.from_bytes(head[5:9], "big")


def wait_until_all_end(connection: socket.socket, streams: set[int]) -> None:
    left = set(streams)
    for kind, flags, stream in frames(connection):
        if kind == RESET or (kind == HEADERS and flags & 1):
            left.discard(stream)
        if not left:
            return
    raise AssertionError(f"the connection ended before the streams {left}")


def test_calls_with_unread_answers_count_and_are_ended(tmp_path: Path, plan: bytes) -> None:
    """Other calls on the connection go on."""
    limits = ["--max-request-bytes", str(MIB // 2), "--max-inflight-bytes", str(MIB)]
    limits += ["--write-timeout-s", "1", "--drain-s", "0"]
    x = np.ones((MIB // 8 // 16, 4), np.float32)  # seven fit, as some room is kept for small requests
    streams = range(1, 41, 2)
    with (
        Server(tmp_path / "store", *limits, grpc=True) as server,
        stub(server) as service,
        taking_nothing(server) as connection,
    ):
        add(server, plan, name="double")
        assert (only_output(service.ModelInfer(raw("double", X))) == 2 * X).all()
        for stream in streams:
            begin(connection, "ModelInfer", raw("double", x).SerializeToString(), stream)
        wait_until(lambda: error_count(server, "Unavailable") == 13, "the refusal of the calls without room")
        assert refusal(service.ModelInfer, raw("double", x)).code() is grpc.StatusCode.UNAVAILABLE
        assert (only_output(service.ModelInfer(raw("double", X))) == 2 * X).all()

        wait_until(lambda: error_count(server, "DeadlineExceeded") == 7, "the end of the others")
        assert (only_output(service.ModelInfer(raw("double", x))) == 2).all()
        wait_until_all_end(connection, set(streams))
        begin(connection, "ModelInfer", raw("double", X).SerializeToString(), 41)
        connection.sendall(frame(8, 0, 41, (1000).to_bytes(4, "big")))
        assert (DATA, 0, 41) in frames(connection)
        assert "Traceback" not in server.log


def test_unread_answers_use_bounded_memory(tmp_path: Path) -> None:
    limits = ["--max-request-bytes", str(16 * MIB), "--max-inflight-bytes", str(32 * MIB), "--drain-s", "0"]
    request = raw("wide", np.ones(1, np.float32))
    message = request.SerializeToString()
    with (
        Server(tmp_path / "store", *limits, grpc=True) as server,
        stub(server, max_receive_message_length=16 * MIB) as service,
        taking_nothing(server) as connection,
    ):
        add(server, wide(tmp_path / "wide.onnx"), name="wide")
        assert only_output(service.ModelInfer(request)).size == 2 * MIB
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        for number in range(60):  # each answer has 8 MiB: three fit
            begin(connection, "ModelInfer", message, 2 * number + 1)
        wait_until(lambda: error_count(server, "Unavailable") == 57, "the refusal of the calls without room")
        assert process.memory_info().rss - before < 4 * 32 * MIB


def test_calls_with_other_unread_answers_are_ended_too(tmp_path: Path, plan: bytes) -> None:
    with (
        Server(tmp_path / "store", "--write-timeout-s", "0.1", "--drain-s", "0", grpc=True) as server,
        stub(server) as service,
        taking_nothing(server) as connection,
    ):
        add(server, plan, name="double")
        assert service.ServerLive(pb.ServerLiveRequest()).live
        for stream in (1, 3, 5):
            begin(connection, "ServerMetadata", b"", stream)
        wait_until(lambda: error_count(server, "DeadlineExceeded") == 3, "the end of the calls")
        assert service.ServerLive(pb.ServerLiveRequest()).live
        wait_until_all_end(connection, {1, 3, 5})


@pytest.mark.parametrize(("options", "most"), [((), 1024), (("--grpc-max-concurrent-streams", "7"), 7)])
def test_a_connection_has_a_limit_on_calls(tmp_path: Path, options: tuple[str, ...], most: int) -> None:
    with Server(tmp_path / "store", *options, grpc=True) as server, connect(server, "grpc") as connection:
        connection.sendall(PREFACE)
        with connection.makefile("rb") as incoming:
            head = incoming.read(9)
            assert head[3] == SETTINGS
            settings = incoming.read(int.from_bytes(head[:3], "big"))
        assert MOST_STREAMS + most.to_bytes(4, "big") in re.findall(b"(?s).{6}", settings)
