"""Error answers from every source, and their documentation."""

import re
from typing import NoReturn

import httpx
import pytest

from tests.asgi import refused
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, error
from tests.submitting import submit
from trtserve.errors import HTTP_STATUS

pytestmark = pytest.mark.anyio

X = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}


async def infer(client: httpx.AsyncClient) -> httpx.Response:
    await client.post("/engines?name=net", content=onnx_plan())
    return await client.post("/engines/net/infer", json={"inputs": [X]})


async def test_an_unknown_address_is_a_404_that_points_to_the_documentation(
    client: httpx.AsyncClient,
) -> None:
    sentence = refused(await client.get("/enginse"), 404, "NotFound")
    assert sentence == "There is nothing at /enginse; /docs lists what there is."


async def test_an_unsupported_method_is_a_405(client: httpx.AsyncClient) -> None:
    response = await client.put("/health/live")
    assert "PUT /health/live" in refused(response, 405, "InvalidInput")
    assert response.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/engines", "GET, HEAD, OPTIONS, POST, PUT"),
        ("/engines/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("/v2/logging", "GET, HEAD, OPTIONS, POST"),
        ("/v2/models/net/infer", "OPTIONS, POST"),
        ("/static-offline-docs/swagger-ui.css", "GET, HEAD, OPTIONS"),
    ],
)
async def test_a_405_names_every_method_of_its_address(
    client: httpx.AsyncClient, path: str, methods: str
) -> None:
    response = await client.request("TRACE", path)
    refused(response, 405, "InvalidInput")
    assert response.headers["allow"] == methods


async def test_a_wrong_query_is_a_400_that_names_the_parameter_its_value_and_the_allowed_ones(
    client: httpx.AsyncClient,
) -> None:
    sentence = refused(await client.post("/engines?format=pickle"), 400, "InvalidInput")
    formats = "'auto', 'tensorrt', 'onnx', 'openvino' or 'torchscript'"
    assert re.search(rf"parameter 'format' is 'pickle': .*{formats}", sentence)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/" + "x" * 50_000),
        ("PATCH", "/engines/" + "x" * 50_000),
        ("GET", "/engines/" + "x" * 50_000),
        ("GET", "/names/" + "x" * 50_000),
        ("GET", "/v2/models/net/versions/" + "9" * 50_000),
        ("POST", "/engines?instances=" + "9" * 50_000),
        ("POST", "/engines?" + "x" * 50_000 + "=1"),
    ],
    ids=["path", "method", "engine", "name", "version", "value", "parameter"],
)
async def test_an_error_quotes_little_of_a_long_address(
    client: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await client.request(method, path)
    assert 400 <= answer.status_code < 500
    assert len(answer.json()["error"]) < 500


@pytest.mark.parametrize(("kind", "status"), sorted(HTTP_STATUS.items()))
async def test_every_kind_of_error_from_the_runtime_has_its_status(
    client: httpx.AsyncClient, runtime: FakeRuntime, kind: str, status: int
) -> None:
    runtime.load_error = error(kind, "what the core says of it")
    response = await client.post("/engines", content=onnx_plan())
    assert refused(response, status, kind) == "What the core says of it."
    assert ("retry-after" in response.headers) == (kind in {"QueueFull", "Unavailable"})


@pytest.mark.parametrize(
    ("seconds", "header"),
    [(None, "1"), (0.0, "1"), (0.02, "1"), (2.0, "2"), (2.1, "3"), (60.5, "60"), (1e9, "60")],
)
async def test_a_full_queue_has_a_retry_after_in_whole_seconds(
    client: httpx.AsyncClient, runtime: FakeRuntime, seconds: float | None, header: str
) -> None:
    await client.post("/engines?name=net&max_queue_size=1", content=onnx_plan())
    runtime.retry_after = seconds
    runtime.hold()
    inputs = [("x", "FP32", [1, 4], bytes(16))]
    submit(runtime, runtime.engines()[0].id, inputs)
    response = await client.post("/engines/net/infer", json={"inputs": [X]})
    refused(response, 429, "QueueFull")
    assert response.headers["retry-after"] == header


async def test_an_unexpected_exception_is_a_500_that_hides_its_text(
    client: httpx.AsyncClient, runtime: FakeRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> NoReturn:
        raise RuntimeError("secret")

    runtime.compute = fail
    sentence = refused(await infer(client), 500, "ExecutionFailed")
    assert sentence == "The server failed unexpectedly; its log says how."
    assert "POST /engines/net/infer failed: RuntimeError('secret')" in caplog.text


async def test_the_next_request_after_an_error_works(client: httpx.AsyncClient, runtime: FakeRuntime) -> None:
    compute = runtime.compute

    def fail(_: object) -> NoReturn:
        raise error("ExecutionFailed", "once")

    runtime.compute = fail
    refused(await infer(client), 500, "ExecutionFailed")
    runtime.compute = compute
    assert (await infer(client)).status_code == 200


async def test_the_documentation_loads_nothing_from_other_hosts(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.status_code == 200
    assert "swagger" in page.text
    assert "//" not in page.text  # not even in a comment
    for asset in re.findall(r"""(?:src|href)=["'](/[^"']+)""", page.text):
        assert (await client.get(asset)).status_code == 200


async def test_every_route_documents_its_errors(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    statuses = {str(status) for status in HTTP_STATUS.values()}
    routes = [route for path in document["paths"].values() for route in path.values()]
    assert len(routes) >= 11
    for route in routes:
        assert statuses <= route["responses"].keys(), route["summary"]
        assert route["tags"][0] in {tag["name"] for tag in document["tags"]}
        assert "422" not in route["responses"], f"{route['summary']}: a wrong query is a 400 here"


async def test_a_sentence_that_begins_with_an_option_is_not_capitalised(
    client: httpx.AsyncClient, runtime: FakeRuntime
) -> None:
    runtime.load_error = error("InvalidInput", "max_batch_size is 8, but input 'x' is of fixed size")
    response = await client.post("/engines", content=onnx_plan())
    answered = refused(response, 400, "InvalidInput")
    assert answered == "max_batch_size is 8, but input 'x' is of fixed size."
