"""Requests that reach Inference already decoded, as from gRPC."""

from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from tests.asgi import inference_of
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.waiting import until
from trtserve.codec import BodyForm, Form, InferRequest
from trtserve.errors import NotFound
from trtserve.inference.calls import Inference, RequestHead
from trtserve.services import services_of
from trtserve.settings import Settings

if TYPE_CHECKING:
    from runtime_ext import Completion

pytestmark = pytest.mark.anyio

FORM = BodyForm(Form.PROTOCOL, None, None, None)
SECOND = 10**9


@pytest.fixture
async def inference(client: httpx.AsyncClient, app: FastAPI) -> Inference:
    """The Inference of an application with the engine `net`."""
    (await client.post("/engines", params={"name": "net"}, content=onnx_plan())).raise_for_status()
    assert isinstance(services_of(app).inference, Inference)
    return services_of(app).inference


def request(value: float = 1.0, timeout_ns: int | None = None) -> InferRequest:
    x = np.full((1, 4), value, np.float32)
    return InferRequest([("x", "FP32", [1, 4], x)], timeout_ns=timeout_ns)


async def test_requests_with_one_head_are_prepared_once_and_keep_their_own_data(
    inference: Inference, runtime: FakeRuntime
) -> None:
    head = RequestHead.of("net", None, FORM)
    for value in (1.0, 2.0):
        ended: list[Completion] = []
        call = inference.start_request(head, request(value), None, ended.append)
        await until(lambda ended=ended: len(ended) == 1)  # type: ignore[misc]
        (output,) = inference.outputs(call, ended[0])
        assert np.frombuffer(output, np.float32).tolist() == [value] * 4
    assert len(inference.patterns) == 1


@pytest.mark.parametrize(
    ("own", "left", "expected"),
    [
        (None, None, None),
        (None, SECOND, SECOND),
        (2 * SECOND, SECOND, SECOND),
        (SECOND, 2 * SECOND, SECOND),
        (SECOND, None, SECOND),
        (None, 0, 0),
    ],
)
async def test_the_shorter_of_the_requests_and_the_callers_timeout_applies(
    inference: Inference, runtime: FakeRuntime, own: int | None, left: int | None, expected: int | None
) -> None:
    inference.start_request(RequestHead.of("net", None, FORM), request(timeout_ns=own), left, lambda _: None)
    assert runtime.timeouts[-1] == expected


async def test_a_request_can_name_a_version(inference: Inference) -> None:
    call = inference.start_request(RequestHead.of("net", "1", FORM), request(), None, lambda _: None)
    assert call.resolved.version == 1
    with pytest.raises(NotFound):
        inference.start_request(RequestHead.of("net", "2", FORM), request(), None, lambda _: None)


async def test_a_request_without_a_timeout_gets_the_servers(
    inference: Inference, app: FastAPI, runtime: FakeRuntime
) -> None:
    limited = inference_of(app, settings=Settings(request_timeout_s=1.0))
    for left, expected in ((None, SECOND), (2 * SECOND, SECOND), (SECOND // 2, SECOND // 2)):
        limited.start_request(RequestHead.of("net", None, FORM), request(), left, lambda _: None)
        assert runtime.timeouts[-1] == expected
