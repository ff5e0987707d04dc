"""What gRPC is told of the server, without a connection between."""

from typing import Any

import pytest
from fastapi import FastAPI

from service.rpc import models
from tests.fakes.runtime import FakeRuntime

pytestmark = pytest.mark.anyio


async def test_a_server_with_a_dead_device_lives_and_is_not_ready(
    client: Any, app: FastAPI, runtime: FakeRuntime
) -> None:
    assert await models.server_ready(app.state, None) == {"ready": True}
    runtime.dead["cuda:0"] = "it fell off the bus"
    assert await models.server_ready(app.state, None) == {"ready": False}
    assert await models.server_live(app.state, None) == {"live": True}
