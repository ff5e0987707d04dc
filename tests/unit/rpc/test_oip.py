"""The methods of the protocol over gRPC, called without a connection."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import FastAPI

from tests.asgi import exchange
from tests.fakes.runtime import FakeRuntime
from trtserve.errors import NotFound
from trtserve.rpc import oip
from trtserve.services import services_of

pytestmark = pytest.mark.anyio


async def test_a_server_with_a_dead_device_is_live_but_not_ready(
    client: Any, app: FastAPI, runtime: FakeRuntime
) -> None:
    assert await oip.server_ready(services_of(app), None) == {"ready": True}
    runtime.dead["cuda:0"] = "it fell off the bus"
    assert await oip.server_ready(services_of(app), None) == {"ready": False}
    assert await oip.server_live(services_of(app), None) == {"live": True}


@pytest.mark.parametrize("tell", [oip.model_metadata, oip.model_config, oip.model_statistics])
async def test_an_unknown_model_is_refused_in_the_protocols_words(
    client: Any, app: FastAPI, tell: Any
) -> None:
    for name, version in (("nobody", ""), ("net", "3")):
        with pytest.raises(NotFound, match=r"^Request for unknown model: "):
            await tell(services_of(app), SimpleNamespace(name=name, version=version))
    with pytest.raises(NotFound, match=r"^Request for unknown model: "):
        await oip.trace_setting(services_of(app), SimpleNamespace(model_name="nobody"))


async def test_a_setting_names_the_server(client: Any, app: FastAPI) -> None:
    exchange(app, settings=services_of(app).settings.model_copy(update={"server_name": "triton"}))
    assert (await oip.server_metadata(services_of(app), None))["name"] == "triton"
