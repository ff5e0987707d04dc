"""The life of the gRPC server: its port, start and stop, health and reflection."""

import subprocess
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.grpc import model_config_pb2, service_pb2

from tests.e2e.grpc_calls import add, occupied, raw, refusal, stub
from tests.e2e.server import COMMAND, HANGS_AFTER_S, Server, environment

pytestmark = pytest.mark.usefixtures("each_grpc_server")

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
def test_health_is_served(grpc_server: Server, service: str) -> None:
    with grpc.insecure_channel(grpc_server.grpc_address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == SERVING


def test_messages_match_the_published_protocol(grpc_server: Server) -> None:
    """Every method, message and field in the reflection has the number and type that clients know."""
    known = described(service_pb2.DESCRIPTOR, model_config_pb2.DESCRIPTOR)
    with grpc.insecure_channel(grpc_server.grpc_address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert "inference.GRPCInferenceService" in database.get_services()
        pool = DescriptorPool(database)
        service = pool.FindServiceByName("inference.GRPCInferenceService")
        served = described(service.file, *service.file.dependencies)
    assert served <= known
    assert all(of_configuration(entry) for entry in known - served), (
        "only the model configuration leaves fields out"
    )


def described(*files: Any) -> set[tuple[Any, ...]]:
    """One entry for each method and each field that the files describe."""
    found: set[tuple[Any, ...]] = set()

    def walk(scope: str, message: Any) -> None:
        found.update(
            (f"{scope}.{message.name}", f.name, f.number, f.type, f.label, f.type_name) for f in message.field
        )
        for nested in message.nested_type:
            walk(f"{scope}.{message.name}", nested)

    for file in files:
        copy = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(copy)
        for message in copy.message_type:
            walk(copy.package, message)
        for service in copy.service:
            found.update(
                (service.name, m.name, m.input_type, m.output_type, m.client_streaming, m.server_streaming)
                for m in service.method
            )
    return found


def of_configuration(entry: tuple[Any, ...]) -> bool:
    return entry[0].split(".")[1] in model_config_pb2.DESCRIPTOR.message_types_by_name


def test_a_taken_port_is_reported_in_one_sentence(grpc_server: Server, tmp_path: Path) -> None:
    port = grpc_server.grpc_address.rpartition(":")[2]
    options = ["--port", "0", "--grpc-port", port, "--store", str(tmp_path / "store")]
    ended = subprocess.run(
        [COMMAND, "serve", *options],
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
        timeout=HANGS_AFTER_S,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"Error: gRPC cannot listen on 127.0.0.1:{port}: the port is taken")
    assert "--grpc-port" in line


def test_a_server_without_a_grpc_port_announces_http_only(tmp_path: Path) -> None:
    with Server(tmp_path / "store") as server:
        process = server.process
        process.terminate()
        assert process.stdout is not None
        assert process.stdout.read() == "", "the only line was about HTTP"


def test_a_stop_answers_calls_and_ends_health_watches(tmp_path: Path, big_plan: bytes) -> None:
    """The drain time is an hour, so a call that blocks the stop makes the test time out."""
    with Server(tmp_path / "store", "--drain-s", "3600", grpc=True) as server:
        add(server, big_plan, name="slow", instances=1)
        with stub(server, max_receive_message_length=-1) as service:
            channel = grpc.insecure_channel(server.grpc_address)
            watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert next(watched).status == SERVING
            calls = occupied(server, service, waiting=2)
            assert server.stop() == 0
            assert [call.code() for call in calls] == [grpc.StatusCode.OK] * 3
            assert [answer.status for answer in watched] == [NOT_SERVING]
            channel.close()
        assert "Traceback" not in server.log


def test_calls_left_after_the_drain_time_are_aborted(tmp_path: Path, big_plan: bytes) -> None:
    with Server(tmp_path / "store", "--drain-s", "0", grpc=True) as server:
        add(server, big_plan, name="slow", instances=1)
        with stub(server, max_receive_message_length=-1) as service:
            calls = occupied(server, service, waiting=5)
            assert server.stop() == 0
            codes = [call.code() for call in calls]
        assert codes.count(grpc.StatusCode.OK) <= 1, "the answer of the request that ran"
        assert "Traceback" not in server.log


def test_a_stopped_server_is_unavailable(tmp_path: Path, plan: bytes) -> None:
    with Server(tmp_path / "store", grpc=True) as server:
        add(server, plan, name="double")
        with stub(server) as service:
            service.ModelInfer(raw("double", np.ones((1, 4), np.float32)))
            assert server.interrupt() == 0
            error = refusal(service.ModelInfer, raw("double", np.ones((1, 4), np.float32)))
    assert error.code() == grpc.StatusCode.UNAVAILABLE


def pinging(address: str) -> grpc.Channel:
    """A channel that pings ten times a second, with or without a call."""
    options = {
        "grpc.keepalive_time_ms": 100,
        "grpc.keepalive_permit_without_calls": 1,
        "grpc.http2.max_pings_without_data": 0,
    }
    return grpc.insecure_channel(address, list(options.items()))


def test_a_client_that_pings_too_often_loses_its_stream_unless_pings_are_allowed(tmp_path: Path) -> None:
    few = Server(tmp_path / "few", "--grpc-min-ping-interval-s", "300", grpc=True)
    many = Server(tmp_path / "many", "--grpc-min-ping-interval-s", "0", grpc=True)
    request = health_pb2.HealthCheckRequest()
    with few, many, pinging(many.grpc_address) as kept, pinging(few.grpc_address) as lost:
        watched = health_pb2_grpc.HealthStub(kept).Watch(request)
        next(watched)
        dropped = health_pb2_grpc.HealthStub(lost).Watch(request)
        next(dropped)
        with pytest.raises(grpc.RpcError, match=r"(?i)too many pings"):
            next(dropped)
        assert watched.is_active()
