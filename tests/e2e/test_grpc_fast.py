"""Messages and clients over gRPC that the fast path bounds, and requests that it takes like earlier ones.

The tests of what grpc.aio does not bound are left out where the fast path is not built.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2 as pb

from runtime_ext import GRPC_SESSION
from tests.e2e.grpc_calls import X, add, error_count, only_output, raw, refusal, stub
from tests.e2e.server import Server
from tests.e2e.test_grpc_connections import PREFACE
from tests.e2e.test_slow_clients import MIB, SETTINGS_ACK, connect, frame, headers
from tests.seam.models import scaling
from tests.waiting import wait_until

DATA, RESET = 0, 3


@pytest.fixture(scope="module", params=["auto"] if GRPC_SESSION else [])
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that waits a second for a body, and has room for two MiB of requests."""
    limits = ["--body-timeout-s", "1", "--max-request-bytes", str(MIB), "--max-inflight-bytes", str(2 * MIB)]
    with Server(tmp_path_factory.mktemp("hasty_fast") / "store", *limits, grpc=True) as server:
        yield server


@contextmanager
def speaking(server: Server) -> Iterator[socket.socket]:
    with connect(server, "grpc") as connection:
        connection.sendall(PREFACE + SETTINGS_ACK)
        yield connection


def begun(method: str, size: int, sent: int, stream: int = 1) -> bytes:
    """A call whose message of `size` bytes stops after `sent`."""
    message = b"\x00" + size.to_bytes(4, "big") + bytes(sent)
    pieces = [message[at : at + 16384] for at in range(0, len(message), 16384)]
    return headers(method, stream) + b"".join(frame(DATA, 0, stream, piece) for piece in pieces)


@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer", "ModelMetadata"])
@pytest.mark.parametrize("sent", [0, 1], ids=["nothing of a message", "a byte of a message"])
def test_a_message_that_does_not_arrive_ends_its_call(hasty: Server, method: str, sent: int) -> None:
    before = error_count(hasty, "DeadlineExceeded")
    with speaking(hasty) as connection:
        connection.sendall(begun(method, 1000, sent))
        wait_until(lambda: error_count(hasty, "DeadlineExceeded") == before + 1, "the end of the call")


def test_messages_count_as_they_arrive(hasty: Server, plan: bytes) -> None:
    """Each of these stops before its end, and only so many have room."""
    add(hasty, plan, name="double")
    before = error_count(hasty, "Unavailable")
    with speaking(hasty) as connection, stub(hasty) as service:
        for stream in range(1, 61, 2):
            connection.sendall(begun("ModelInfer", MIB // 4, MIB // 8, stream))
        wait_until(lambda: error_count(hasty, "Unavailable") > before, "the refusal of those without room")
        assert (only_output(service.ModelInfer(raw("double", X))) == 2 * X).all()


def test_requests_behind_those_in_progress_count(hasty: Server, plan: bytes) -> None:
    """The client takes no answer, so the server reads no further requests, and ends the stream in the end."""
    add(hasty, plan, name="double")
    before = error_count(hasty, "Unavailable")
    message = raw("double", X).SerializeToString()
    prefixed = b"\x00" + len(message).to_bytes(4, "big") + message
    no_window = frame(4, 0, 0, b"\x00\x04" + bytes(4))
    with connect(hasty, "grpc") as connection, stub(hasty) as service:
        connection.sendall(PREFACE[:24] + no_window + SETTINGS_ACK + headers("ModelStreamInfer"))
        many = frame(DATA, 0, 1, prefixed * (16384 // len(prefixed)))
        for _ in range(3 * MIB // len(many)):
            connection.sendall(many)
        wait_until(lambda: error_count(hasty, "Unavailable") == before + 1, "the end of the stream")
        assert (only_output(service.ModelInfer(raw("double", X))) == 2 * X).all()


def test_a_client_that_resets_its_calls_at_once_is_disconnected(hasty: Server, plan: bytes) -> None:
    """CVE-2023-44487."""

    def reset_calls() -> None:
        for stream in range(1, 2_000_001, 2):
            connection.sendall(headers("ModelInfer", stream) + frame(RESET, 0, stream, bytes(3) + b"\x08"))

    with speaking(hasty) as connection, pytest.raises((ConnectionError, TimeoutError)):
        reset_calls()
    with stub(hasty) as service:
        assert service.ServerLive(pb.ServerLiveRequest()).live


def test_requests_like_an_earlier_one_follow_their_engine(
    grpc_server: Server, plan: bytes, tmp_path: Path
) -> None:
    """The name moves to another engine, is unloaded and loaded again between requests that are alike."""
    add(grpc_server, plan, name="net")
    client = grpc_server.client
    with stub(grpc_server) as service:
        for _ in range(3):
            assert np.array_equal(only_output(service.ModelInfer(raw("net", X))), 2 * X)
        add(grpc_server, scaling(tmp_path / "3.onnx", 3).read_bytes(), name="net")
        for id in ("1", "2"):
            answer = service.ModelInfer(raw("net", X, id=id))
            assert (answer.id, answer.model_version) == (id, "2")
            assert np.array_equal(only_output(answer), 3 * X)
        client.post("/v2/repository/models/net/unload").raise_for_status()
        client.post("/v2/repository/models/net/load").raise_for_status()
        assert np.array_equal(only_output(service.ModelInfer(raw("net", X))), 3 * X)


@pytest.mark.usefixtures("each_grpc_server")
def test_a_compressed_message_is_limited_by_what_it_holds(tmp_path: Path, plan: bytes) -> None:
    limits = ("--max-request-bytes", "100000", "--max-inflight-bytes", "100000")
    with Server(tmp_path / "store", *limits, grpc=True) as server:
        add(server, plan, name="double")
        request = raw("double", np.zeros((10_000, 4), np.float32))
        with stub(server) as service:
            error = refusal(service.ModelInfer, request, compression=grpc.Compression.Gzip)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
                answer = service.ModelInfer(raw("double", X), compression=compression)
                assert np.array_equal(only_output(answer), 2 * X)


@pytest.fixture(scope="module", params=["auto"] if GRPC_SESSION else [])
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with three connections, two of them from one address."""
    limits = ["--max-connections", "3", "--max-connections-per-address", "2"]
    with Server(tmp_path_factory.mktemp("narrow_fast") / "store", *limits, grpc=True) as server:
        yield server


def test_connections_are_limited_in_all_and_from_one_address(narrow: Server) -> None:
    host, _, port = narrow.grpc_address.rpartition(":")

    def settled(source: str) -> socket.socket | None:
        """A connection that the server speaks on; None if it has ended it."""
        connection = socket.create_connection((host, int(port)), 60, (source, 0))
        try:
            connection.sendall(PREFACE)
            if connection.recv(1):
                return connection
        except ConnectionError:
            pass
        connection.close()
        return None

    own = [settled("127.0.0.1") for _ in range(2)]
    assert all(own)
    assert settled("127.0.0.1") is None, "one too many of its address"
    other = settled("127.0.0.2")
    assert other is not None
    assert settled("127.0.0.3") is None, "one too many of all"
    for connection in (*own, other):
        assert connection is not None
        connection.close()

    def there_is_room() -> bool:
        found = settled("127.0.0.1")
        if found is not None:
            found.close()
        return found is not None

    wait_until(there_is_room, "a free place")
