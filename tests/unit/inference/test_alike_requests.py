"""Requests in JSON that are like earlier ones: only their numbers are read, and nothing else differs."""

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from tests.asgi import client_of
from tests.connections import Answer, Connection, listening, request
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, Output, TensorSpec
from tests.waiting import until
from trtserve import codec
from trtserve.codec.json_large import LEAST_BYTES
from trtserve.inference import templates
from trtserve.services import services_of

pytestmark = pytest.mark.anyio

INFER = "/engines/net/infer"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bodies that were parsed."""
    bodies = []
    decode = codec.decode_body

    def decoding(form: codec.BodyForm, body: codec.Body) -> codec.InferRequest:
        bodies.append(bytes(body))
        return decode(form, body)

    monkeypatch.setattr(codec, "decode_body", decoding)
    return bodies


@pytest.fixture
async def connection(served: FastAPI) -> AsyncIterator[Connection]:
    async with listening(served) as server, Connection(server) as opened:
        yield opened


def document(data: Any, shape: tuple[int, ...] = (1, 4), **members: Any) -> bytes:
    tensor = {"name": "x", "shape": shape, "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor], **members}).encode()


async def ask(connection: Connection, body: bytes, *headers: str) -> Answer:
    return await connection.ask(request(INFER, body, *headers))


async def test_a_request_like_two_others_is_not_parsed(connection: Connection, decoded: list[bytes]) -> None:
    for number in range(5):
        data = [number, number + 0.5, -number, 1e-3]
        answer = await ask(connection, document(data))
        assert json.loads(answer.body) == {
            "model_name": "net",
            "model_version": "1",
            "outputs": [
                {
                    "name": "y",
                    "shape": [1, 4],
                    "datatype": "FP32",
                    "data": [float(str(np.float32(value))) for value in data],
                }
            ],
        }
        assert dict(answer.headers)["content-type"] == "application/json"
    assert len(decoded) == 2


async def test_each_answer_has_the_id_of_its_request(connection: Connection, decoded: list[bytes]) -> None:
    for id in ("first", "second", "third", "", "a/b {x}", "é", '"', "last"):
        answer = await ask(connection, document([1, 2, 3, 4], id=id))
        assert json.loads(answer.body)["id"] == id
    assert [json.loads(body)["id"] for body in decoded] == ["first", "second", "é", '"']


async def test_an_id_that_is_no_plain_text_is_answered_each_time(connection: Connection) -> None:
    for _ in range(4):
        assert json.loads((await ask(connection, document([1, 2, 3, 4], id="é"))).body)["id"] == "é"


async def test_a_request_without_an_id_is_not_like_one_with_an_id(connection: Connection) -> None:
    for _ in range(3):
        assert json.loads((await ask(connection, document([1, 2, 3, 4], id="a"))).body)["id"] == "a"
        assert "id" not in json.loads((await ask(connection, document([1, 2, 3, 4]))).body)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([1, 2, 3], "has 3 elements in its data; shape [1, 4] takes 4"),
        ([1, 2, 3, 4, 5], "has 5 elements"),
        ([1, 2, 3, True], "has true at element 3"),
        ([1, 2, 3, None], "has null at element 3"),
        ([1, 2, 3, "x"], "has 'x' at element 3"),
        ([1, 2, 3, 1e300], "numbers up to 3.4028235e+38"),
        ([[1, 2], [3, 4]], "is not nested like its shape"),
        ({"a": 1}, "it must be a list"),
        (float("nan"), "which has no NaN"),
    ],
)
async def test_a_wrong_request_gets_the_error_that_it_would_get_alone(
    connection: Connection, data: Any, sentence: str
) -> None:
    alone = await ask(connection, document(data))
    for _ in range(3):
        assert (await ask(connection, document([1, 2, 3, 4]))).status == 200
    answer = await ask(connection, document(data))
    assert (answer.status, answer.body) == (alone.status, alone.body)
    assert answer.status == 400
    assert sentence in json.loads(answer.body)["error"]


async def test_the_parameters_and_headers_of_a_request_apply_each_time(
    connection: Connection, runtime: FakeRuntime
) -> None:
    for _ in range(3):
        await ask(connection, document([1, 2, 3, 4], parameters={"timeout": 7, "priority": 1}))
        await ask(connection, document([1, 2, 3, 4]), "Inference-Timeout-Ms: 5")
        await ask(connection, document([1, 2, 3, 4]))
    assert [timeout for timeout in runtime.timeouts if timeout is not None] == [7_000, 5_000_000] * 3


@pytest.mark.parametrize("coding", [None, "gzip"])
@pytest.mark.parametrize("blobs", [True, False])
async def test_answers_have_the_form_and_the_coding_that_a_request_asks_for(
    connection: Connection, decoded: list[bytes], coding: str | None, blobs: bool
) -> None:
    headers = [] if coding is None else [f"Accept-Encoding: {coding}"]
    for number in range(4):
        x = np.arange(number, number + 2000, dtype=np.float32)
        body = document(x.tolist(), (500, 4), parameters={"binary_data_output": blobs})
        answer = await ask(connection, body, *headers)
        assert dict(answer.headers).get("content-encoding") == coding
        plain = answer.body if coding is None else gzip.decompress(answer.body)
        if blobs:
            assert plain.endswith(x.tobytes())
        else:
            assert json.loads(plain)["outputs"][0]["data"] == x.tolist()
    assert len(decoded) == 2


async def test_requests_of_each_shape_are_told_apart(connection: Connection, decoded: list[bytes]) -> None:
    for _ in range(4):
        for rows in (1, 2, 3):
            answer = json.loads((await ask(connection, document([0.5] * 4 * rows, (rows, 4)))).body)
            assert answer["outputs"][0]["shape"] == [rows, 4]
            assert answer["outputs"][0]["data"] == [0.5] * 4 * rows
    assert len(decoded) == 6


async def test_an_answer_has_the_shapes_of_its_outputs(connection: Connection, runtime: FakeRuntime) -> None:
    for size in (1, 4, 2, 4):
        runtime.compute = lambda _, size=size: [Output.of("y", "FP32", [size], np.zeros(size, np.float32))]
        for _ in range(2):
            answer = json.loads((await ask(connection, document([1, 2, 3, 4]))).body)
            assert answer["outputs"] == [
                {"name": "y", "shape": [size], "datatype": "FP32", "data": [0.0] * size}
            ]


async def test_only_the_outputs_asked_for_are_answered(
    connection: Connection, served: FastAPI, runtime: FakeRuntime
) -> None:
    runtime.outputs = [
        TensorSpec("y", "FP32", [-1, 4]),
        TensorSpec("z", "INT8", [1]),
        TensorSpec("b", "BYTES", [1]),
    ]
    runtime.compute = lambda _: [
        Output.of("y", "FP32", [1, 4], np.float32([1, 2, 3, 4])),
        Output.of("z", "INT8", [1], np.int8([-7])),
        Output.of("b", "BYTES", [1], b"\1\0\0\0s"),
    ]
    async with client_of(served) as client:
        (await client.post("/engines", params={"name": "two"}, content=onnx_plan(1))).raise_for_status()
    for names in (["z", "y"], ["y"], ["b", "z"]):
        for _ in range(3):
            body = document([1, 2, 3, 4], outputs=[{"name": name} for name in names])
            answer = json.loads((await connection.ask(request("/engines/two/infer", body))).body)
            data = {"y": [1.0, 2.0, 3.0, 4.0], "z": [-7], "b": ["s"]}
            assert [(out["name"], out["data"]) for out in answer["outputs"]] == [
                (name, data[name]) for name in names
            ]


async def test_an_engine_that_takes_over_the_name_answers_the_next_request(
    connection: Connection, served: FastAPI, runtime: FakeRuntime
) -> None:
    for _ in range(3):
        await ask(connection, document([1, 2, 3, 4]))
    runtime.outputs = [TensorSpec("w", "FP32", [-1, 4])]
    runtime.compute = lambda _: [Output.of("w", "FP32", [1, 4], np.float32([9, 9, 9, 9]))]
    async with client_of(served) as client:
        (await client.post("/engines", params={"name": "net"}, content=onnx_plan(1))).raise_for_status()
    for _ in range(3):
        answer = json.loads((await ask(connection, document([1, 2, 3, 4]))).body)
        assert [out["name"] for out in answer["outputs"]] == ["w"]


async def test_classes_are_checked_where_the_tensor_itself_was_asked_for_before(
    connection: Connection, served: FastAPI, runtime: FakeRuntime
) -> None:
    runtime.outputs = [TensorSpec("y", "BOOL", [2])]
    runtime.compute = lambda _: [Output.of("y", "BOOL", [2], b"\0\1")]
    async with client_of(served) as client:
        (await client.post("/engines", params={"name": "truth"}, content=onnx_plan(1))).raise_for_status()
    for count, status in ((0, 200), (1, 400), (0, 200)):
        asked = {"name": "y", "parameters": {"classification": count}}
        answer = await connection.ask(
            request("/engines/truth/infer", document([1, 2, 3, 4], outputs=[asked]))
        )
        assert answer.status == status
        assert (b"only numbers are ranked" in answer.body) == (status == 400)


async def test_the_tensors_of_a_long_request_count_as_under_way(
    connection: Connection, served: FastAPI, runtime: FakeRuntime, decoded: list[bytes]
) -> None:
    rows = LEAST_BYTES // 8
    body = document([1.0] * 4 * rows, (rows, 4))
    for _ in range(2):
        await ask(connection, body)
    runtime.hold()
    await connection.send(request(INFER, body))
    await until(lambda: len(runtime.waiting) == 1)
    assert services_of(served).inflight.taken == len(body) + rows * 16
    assert len(decoded) == 2
    runtime.release()
    assert (await connection.answer()).status == 200
    assert services_of(served).inflight.taken == 0
    wrong = body.replace(b"1.0]", b"1.0, 2.0]")
    assert (await ask(connection, wrong)).status == 400
    assert services_of(served).inflight.taken == 0


@pytest.fixture
def few_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MOST", 4)


@pytest.mark.usefixtures("few_templates")
async def test_the_least_recently_used_pattern_is_forgotten(
    connection: Connection, decoded: list[bytes]
) -> None:
    for _ in range(3):
        await ask(connection, document([1, 2, 3, 4]))
    for number in range(10):
        await ask(connection, document([1, 2, 3, 4], note=number))
        await ask(connection, document([1, 2, 3, 4]))
    assert len(decoded) == 2 + 10
    for number in range(10, 14):
        await ask(connection, document([1, 2, 3, 4], note=number))
    await ask(connection, document([1, 2, 3, 4]))
    assert len(decoded) == 2 + 10 + 4 + 1
