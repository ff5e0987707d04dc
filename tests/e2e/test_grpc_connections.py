"""Connections over gRPC: pings, reflection, and calls that stay open while the server stops."""

import queue
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2 as reflection

from tests.e2e.server import Server

pytestmark = pytest.mark.usefixtures("each_grpc_server")

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)  # then empty SETTINGS
PING = b"\x00\x00\x08\x06\x00" + bytes(4) + b"trtserve"
PING_TYPE, GOAWAY, ACK = 6, 7, 1
REFLECTION = "/grpc.reflection.{}.ServerReflection/ServerReflectionInfo"


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    host, _, port = server.grpc_address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(PREFACE)
        yield connection


def frames(connection: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """Yield the type, flags and payload of every frame received."""
    with connection.makefile("rb") as incoming:
        while head := incoming.read(9):
            yield head[3], head[4], incoming.read(int.from_bytes(head[:3], "big"))


def pinged(connection: socket.socket, times: int) -> bytes | None:
    """Ping `times` times, one at a time; return the reason if the server closes the connection."""
    acknowledged = 0
    connection.sendall(PING)
    for kind, flags, payload in frames(connection):
        if kind == GOAWAY:
            return payload[8:]
        if kind == PING_TYPE and flags & ACK:
            acknowledged += 1
            if acknowledged == times:
                return None
            connection.sendall(PING)
    raise AssertionError("the connection ended without a word")


def test_a_client_without_calls_may_ping_as_often_as_the_settings_allow(tmp_path: Path) -> None:
    option = ("--grpc-min-ping-interval-s", "0")
    with Server(tmp_path / "store", *option, grpc=True) as server, connected(server) as connection:
        assert pinged(connection, 100) is None


def test_a_client_that_floods_the_server_with_pings_is_disconnected(grpc_server: Server) -> None:
    with connected(grpc_server) as connection:
        assert pinged(connection, 100) == b"too_many_pings"


def test_ping_strikes_can_be_turned_off(tmp_path: Path) -> None:
    option = ("--grpc-max-ping-strikes", "0")
    with Server(tmp_path / "store", *option, grpc=True) as server, connected(server) as connection:
        assert pinged(connection, 100) is None


def test_a_connection_past_its_maximum_age_gets_a_goaway(tmp_path: Path) -> None:
    option = ("--grpc-max-connection-age-s", "0.01")
    with Server(tmp_path / "store", *option, grpc=True) as server, connected(server) as connection:
        assert any(kind == GOAWAY for kind, _, _ in frames(connection))


def test_an_idle_connection_is_pinged_after_the_keepalive_time(tmp_path: Path) -> None:
    options = ("--grpc-keepalive-time-s", "0.01", "--grpc-max-pings-without-data", "0")
    with Server(tmp_path / "store", *options, grpc=True) as server, connected(server) as connection:
        assert any(kind == PING_TYPE and not flags & ACK for kind, flags, _ in frames(connection))


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_lists_every_service_in_both_versions(grpc_server: Server, version: str) -> None:
    asked = [reflection.ServerReflectionRequest(list_services="")]
    names = [f"grpc.reflection.{each}.ServerReflection" for each in ("v1", "v1alpha")]
    names += ["grpc.health.v1.Health", "inference.GRPCInferenceService"]
    asked += [reflection.ServerReflectionRequest(file_containing_symbol=name) for name in names]
    with grpc.insecure_channel(grpc_server.grpc_address) as channel:
        listed, *described = call(channel, version)(iter(asked))
    assert sorted(service.name for service in listed.list_services_response.service) == sorted(names)
    assert all(answer.file_descriptor_response.file_descriptor_proto for answer in described)


def call(channel: grpc.Channel, version: str) -> Any:
    return channel.stream_stream(
        REFLECTION.format(version),
        request_serializer=reflection.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection.ServerReflectionResponse.FromString,
    )


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_a_stop_ends_an_open_reflection_call(tmp_path: Path, version: str) -> None:
    """The drain time is an hour, so a call that blocks the stop makes the test time out."""
    asked: queue.Queue[object] = queue.Queue()
    with (
        Server(tmp_path / "store", "--drain-s", "3600", grpc=True) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        answers = call(channel, version)(iter(asked.get, None))
        asked.put(reflection.ServerReflectionRequest(list_services=""))
        assert next(answers).list_services_response.service
        assert server.stop() == 0
        assert list(answers) == []
        asked.put(None)
