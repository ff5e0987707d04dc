"""The options of an engine whose upload asks for none."""

import httpx
import pytest

from tests.asgi import client_of
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from trtserve.options.engine_options import OPTIONS
from trtserve.server.app import create_app
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


async def test_each_option_has_its_default(client: httpx.AsyncClient) -> None:
    options = (await client.get("/options")).json()
    assert options.keys() == OPTIONS
    assert (options["max_queue_size"], options["residency"], options["warm_up"]) == (256, "eager", "auto")


async def test_a_setting_decides_over_a_default_as_it_does_for_an_upload(
    settings: Settings, runtime: FakeRuntime
) -> None:
    asked = {"max_queue_size": 7, "residency": "pinned"}
    app = create_app(settings.model_copy(update=asked), runtime=runtime)
    async with app.router.lifespan_context(app), client_of(app) as client:
        options = (await client.get("/options")).json()
        engine = (await client.post("/engines", content=onnx_plan())).json()
    for name, value in asked.items():
        assert options[name] == engine[name] == value
