"""TLS and mutual TLS over HTTP and over gRPC with both of its servers; and clients that take their time."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import httpx
import numpy as np
import pytest
import trustme
from tritonclient.grpc import service_pb2_grpc

from tests.certificates import Files, client
from tests.e2e.grpc_calls import X, add, only_output, raw, refusal
from tests.e2e.server import HANGS_AFTER_S, SERVE, Server, environment
from tests.waiting import wait_until

LIMITS = ("--header-timeout-s", "2", "--max-connections", "6", "--max-connections-per-address", "5")


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def secure(files: Files, tmp_path: Path, plan: bytes, each_grpc_server: None) -> Iterator[Server]:
    """A server with TLS and the engine `double`."""
    server = Server(tmp_path / "store", *files.options, *LIMITS, grpc=True)
    server.trust = files.trust()
    with server:
        yield add(server, plan, name="double")


@pytest.fixture
def mutual(files: Files, tmp_path: Path, plan: bytes, each_grpc_server: None) -> Iterator[Server]:
    """A server that demands certificates of its clients."""
    server = Server(tmp_path / "store", *files.mutual, *LIMITS, grpc=True)
    server.trust = files.trust(files.clients)
    with server:
        yield add(server, plan, name="double")


def port_of(server: Server) -> int:
    port = urlsplit(str(server.client.base_url)).port
    assert port is not None
    return port


def infer(client: httpx.Client, rows: int = 2) -> np.ndarray[Any, Any]:
    x = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": [1.0] * (4 * rows)}
    answer = client.post("/engines/double/infer", json={"inputs": [x]})
    answer.raise_for_status()
    (y,) = answer.json()["outputs"]
    return np.array(y["data"])


def asked(server: Server, trust: ssl.SSLContext) -> int:
    """The status of a request on a new connection."""
    with httpx.Client(base_url=server.client.base_url, verify=trust, timeout=HANGS_AFTER_S) as client:
        return client.get("/v2/models/double/ready").status_code


def over_grpc(server: Server, credentials: grpc.ChannelCredentials) -> Any:
    with grpc.secure_channel(server.grpc_address, credentials) as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        return only_output(infer(raw("double", X), timeout=HANGS_AFTER_S))


def refused_over_grpc(server: Server, credentials: grpc.ChannelCredentials) -> grpc.StatusCode:
    with grpc.secure_channel(server.grpc_address, credentials) as channel:
        infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        found: grpc.StatusCode = refusal(infer, raw("double", X), timeout=HANGS_AFTER_S).code()
        return found


def roots(authority: trustme.CA, own: trustme.LeafCert | None = None) -> grpc.ChannelCredentials:
    if own is None:
        return grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    chain = b"".join(blob.bytes() for blob in own.cert_chain_pems)
    return grpc.ssl_channel_credentials(authority.cert_pem.bytes(), own.private_key_pem.bytes(), chain)


def test_requests_and_answers_of_any_size_are_served(secure: Server, files: Files) -> None:
    assert str(secure.client.base_url).startswith("https://127.0.0.1:")
    for rows in (2, 40_000, 2):
        assert (infer(secure.client, rows) == 2).all()
    many = np.ones((500_000, 4), np.float32)
    most = [("grpc.max_receive_message_length", -1)]
    with grpc.secure_channel(secure.grpc_address, roots(files.authority), most) as channel:
        ask = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        for x in (X, many, X):
            assert (only_output(ask(raw("double", x), timeout=HANGS_AFTER_S)) == 2 * x).all()


def test_a_client_that_does_not_trust_the_server_or_sends_no_tls_gets_nothing(
    secure: Server, files: Files
) -> None:
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(f"{secure.client.base_url}/v2")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{port_of(secure)}/v2")
    assert refused_over_grpc(secure, roots(trustme.CA())) is grpc.StatusCode.UNAVAILABLE
    with grpc.insecure_channel(secure.grpc_address) as channel:
        plain = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
        assert refusal(plain, raw("double", X)).code() is grpc.StatusCode.UNAVAILABLE
    assert (over_grpc(secure, roots(files.authority)) == 2 * X).all()


def test_new_connections_get_the_new_certificate_and_open_ones_go_on(secure: Server, files: Files) -> None:
    former = roots(files.authority)
    with grpc.secure_channel(secure.grpc_address, former) as open_one:
        infer_on = service_pb2_grpc.GRPCInferenceServiceStub(open_one).ModelInfer
        infer_on(raw("double", X))
        infer(secure.client)
        files.authority = trustme.CA()
        files.write()
        wait_until(lambda: "read the certificate" in secure.log, "the new certificate")
        assert asked(secure, files.trust()) == 200
        assert (over_grpc(secure, roots(files.authority)) == 2 * X).all()
        infer_on(raw("double", X))
        assert infer(secure.client).size == 8
    assert refused_over_grpc(secure, former) is grpc.StatusCode.UNAVAILABLE


def test_a_new_certificate_that_is_bad_is_not_used(secure: Server, files: Files) -> None:
    files.key.write_bytes(trustme.CA().issue_cert("localhost").private_key_pem.bytes())
    wait_until(lambda: "get the certificate that was read last" in secure.log, "the warning")
    assert asked(secure, files.trust()) == 200
    assert (over_grpc(secure, roots(files.authority)) == 2 * X).all()


# -- mutual TLS


def test_only_clients_with_a_certificate_are_served(mutual: Server, files: Files) -> None:
    assert asked(mutual, files.trust(files.clients)) == 200
    assert asked(mutual, files.trust(files.clients, version=ssl.TLSVersion.TLSv1_2)) == 200
    good = client(files.clients)
    assert (over_grpc(mutual, roots(files.authority, good)) == 2 * X).all()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        for stranger in (
            files.trust(version=version),
            files.trust(trustme.CA(), version=version),
            files.trust(files.clients, expired=True, version=version),
        ):
            with pytest.raises(httpx.TransportError):
                asked(mutual, stranger)
    for own in (None, client(trustme.CA()), client(files.clients, expired=True)):
        assert refused_over_grpc(mutual, roots(files.authority, own)) is grpc.StatusCode.UNAVAILABLE
    assert mutual.metric("trtserve_connections_ended_total", reason="handshake") == 6


def test_an_authority_of_clients_can_be_replaced(mutual: Server, files: Files) -> None:
    former = files.clients
    files.clients = trustme.CA()
    files.write()
    wait_until(lambda: "read the certificate" in mutual.log, "the new authority")
    assert asked(mutual, files.trust(files.clients)) == 200
    assert (over_grpc(mutual, roots(files.authority, client(files.clients))) == 2 * X).all()
    with pytest.raises(httpx.TransportError):
        asked(mutual, files.trust(former))
    assert refused_over_grpc(mutual, roots(files.authority, client(former))) is grpc.StatusCode.UNAVAILABLE


# -- clients that take their time


def ended(connection: socket.socket) -> bool:
    """True once the server has ended the connection, which is waited for."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_handshakes_take_places_and_must_end_in_time(secure: Server, files: Files) -> None:
    secure.client.close()
    address = ("127.0.0.1", port_of(secure))
    with ExitStack() as held:

        def connect(source: str = "127.0.0.1") -> socket.socket:
            connection = socket.create_connection(address, HANGS_AFTER_S, (source, 0))
            return held.enter_context(connection)

        silent = [connect() for _ in range(5)]
        silent[0].sendall(b"\x16\x03\x01\x02\x00")  # a part of a handshake
        assert ended(connect()), "one over the limit of its address"
        last = connect("127.0.0.2")
        assert ended(connect("127.0.0.2")), "one over the limit of all"
        assert all(map(ended, silent)), "their time is over"
        assert ended(last)
        assert asked(secure, files.trust()) == 200
    server = secure.client = httpx.Client(
        base_url=f"https://127.0.0.1:{address[1]}", verify=files.trust(), timeout=HANGS_AFTER_S
    )
    assert server.get("/v2").status_code == 200
    counts = {
        reason: secure.metric("trtserve_connections_ended_total", reason=reason)
        for reason in ("address", "full", "handshake")
    }
    assert counts == {"address": 1, "full": 1, "handshake": 6}


def test_a_slow_head_and_an_idle_connection_end_over_tls_too(secure: Server, files: Files) -> None:
    secure.client.close()
    with (
        socket.create_connection(("127.0.0.1", port_of(secure)), HANGS_AFTER_S) as plain,
        files.trust().wrap_socket(plain, server_hostname="127.0.0.1") as slow,
    ):
        slow.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n")
        assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
        while slow.recv(65536):
            pass


def test_handshakes_over_grpc_must_end_in_time(secure: Server, files: Files) -> None:
    host, _, port = secure.grpc_address.rpartition(":")
    with ExitStack() as held:
        silent = [
            held.enter_context(socket.create_connection((host, int(port)), HANGS_AFTER_S)) for _ in range(3)
        ]
        assert all(map(ended, silent))
    assert (over_grpc(secure, roots(files.authority)) == 2 * X).all()


def test_a_server_stops_while_handshakes_wait(secure: Server) -> None:
    with socket.create_connection(("127.0.0.1", port_of(secure)), HANGS_AFTER_S):
        host, _, port = secure.grpc_address.rpartition(":")
        with socket.create_connection((host, int(port)), HANGS_AFTER_S):
            assert secure.stop() == 0
    secure.start()


def test_a_bad_certificate_ends_the_start_with_a_sentence(files: Files, tmp_path: Path) -> None:
    files.key.write_bytes(b"")
    command = [*SERVE, "serve", "--port", "0", "--store", str(tmp_path / "store"), *files.options]
    end = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=HANGS_AFTER_S, check=False
    )
    assert end.returncode == 1
    assert f"Error: {files.certificate} and {files.key} are not a certificate and its key" in end.stderr
    assert "Traceback" not in end.stderr
