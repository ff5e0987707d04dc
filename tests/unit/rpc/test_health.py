"""gRPC's health service follows the readiness of the server."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from fastapi import FastAPI
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.fakes.runtime import FakeRuntime
from trtserve.rpc.health import Health
from trtserve.services import services_of

pytestmark = pytest.mark.anyio

Answer = health_pb2.HealthCheckResponse
Request = health_pb2.HealthCheckRequest


@pytest.fixture
def health(client: Any, app: FastAPI) -> Health:
    """The health service of a running application."""
    return Health(services_of(app), "inference.GRPCInferenceService")


@pytest.fixture
async def stub(health: Health) -> AsyncIterator[Any]:
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)
    await server.stop(None)


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService"])
async def test_the_status_follows_the_readiness_of_the_server(
    stub: Any, runtime: FakeRuntime, service: str
) -> None:
    assert (await stub.Check(Request(service=service))).status == Answer.SERVING
    runtime.dead["cuda:0"] = "it fell off the bus"
    assert (await stub.Check(Request(service=service))).status == Answer.NOT_SERVING


async def test_an_unknown_service_is_not_found(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.Check(Request(service="other"))
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    assert "There is no service 'other'" in str(refused.value.details())


async def test_a_watch_reports_changes_and_ends_with_the_server(
    stub: Any, health: Health, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trtserve.rpc.health.LOOK_S", 0.001)
    watched = stub.Watch(Request())
    also = stub.Watch(Request(service="other"))
    assert (await watched.read()).status == Answer.SERVING
    assert (await also.read()).status == Answer.SERVICE_UNKNOWN
    runtime.dead["cuda:0"] = "it fell off the bus"
    assert (await watched.read()).status == Answer.NOT_SERVING
    runtime.dead.clear()
    assert (await watched.read()).status == Answer.SERVING
    health.stop()
    assert (await watched.read()).status == Answer.NOT_SERVING
    assert await watched.read() is grpc.aio.EOF
    assert await also.read() is grpc.aio.EOF
