"""Requests and answers with many numbers as text: slow conversions run in threads and count as under way."""

import asyncio
import gzip
import json
import struct
import threading
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI

from tests.asgi import client_of, refused
from tests.connections import WAYS, Connection, listening, request
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, Output, ShapeRange, TensorSpec
from tests.waiting import until
from trtserve import codec
from trtserve.codec import LONG_BYTES, LONG_STRINGS, classes
from trtserve.codec.classes import LONG_CLASSES
from trtserve.codec.json_large import LEAST_BYTES, NumberList
from trtserve.inference.calls import HERE_BYTES
from trtserve.services import services_of

pytestmark = pytest.mark.anyio

INFER = "/engines/net/infer"
VALUES = [0.25, -3.0, 1e-3, 7.0]


def of(data: str, shape: str = "[1, 4]", name: str = "x") -> bytes:
    """A request with this text as its data."""
    tensor = f'{{"name": "{name}", "datatype": "FP32", "shape": {shape}, "data": {data}}}'
    return f'{{"inputs": [{tensor}]}}'.encode()


def long(data: str = "[0.25, -3, 1e-3, 7]", blanks: int = HERE_BYTES, **members: str) -> bytes:
    return of(data.replace("[", "[" + " " * blanks, 1), **members)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads that read or wrote a list of numbers."""
    threads = []
    read, write = NumberList.read, codec.write

    def reading(self: NumberList, name: str, datatype: str, shape: list[int]) -> Any:
        threads.append(threading.current_thread())
        return read(self, name, datatype, shape)

    def writing(name: str, datatype: str, data: memoryview) -> bytes:
        threads.append(threading.current_thread())
        return write(name, datatype, data)

    monkeypatch.setattr(NumberList, "read", reading)
    monkeypatch.setattr("trtserve.codec.write", writing)
    return threads


@pytest.fixture
def finders(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """The threads that found classes."""
    threads = []
    find = classes.top_classes

    def finding(*given: Any) -> bytes:
        threads.append(threading.current_thread())
        return find(*given)

    monkeypatch.setattr(classes, "top_classes", finding)
    return threads


async def test_a_long_list_is_read_in_a_thread_and_a_shorter_one_on_the_loop(
    served: FastAPI, readers: list[threading.Thread]
) -> None:
    loop = threading.current_thread()
    async with listening(served) as server, Connection(server) as connection:
        for blanks, elsewhere in ((HERE_BYTES, True), (LEAST_BYTES, False)):
            answer = await connection.ask(request(INFER, long(blanks=blanks)))
            assert json.loads(answer.body)["outputs"][0]["data"] == [np.float32(value) for value in VALUES]
            assert (readers.pop() is not loop) == elsewhere
    assert readers == []
    assert services_of(served).inflight.taken == 0


@pytest.mark.parametrize("blanks", [LEAST_BYTES, HERE_BYTES])
@pytest.mark.parametrize(
    ("tensor", "sentence"),
    [({"name": "z"}, " are x."), ({"shape": "[[1]]"}, "has the shape")],
)
async def test_a_request_that_does_not_fit_its_engine_is_refused_before_its_numbers_are_read(
    served: FastAPI, readers: list[threading.Thread], blanks: int, tensor: dict[str, str], sentence: str
) -> None:
    async with client_of(served) as client:
        response = await client.post(INFER, content=long("[0, 1, oops]", blanks, **tensor))
        assert sentence in refused(response, 400, "InvalidInput")
        response = await client.post("/engines/nobody/infer", content=long("[0, 1, oops]", blanks))
        refused(response, 404, "NotFound")
    assert readers == []


@pytest.mark.parametrize("large", [False, True])
async def test_the_data_read_from_a_list_counts_as_under_way(
    served: FastAPI, runtime: FakeRuntime, large: bool
) -> None:
    rows = HERE_BYTES // 8 if large else LEAST_BYTES // 8
    body = of("[" + ",".join(["1"] * 4 * rows) + "]", shape=f"[{rows}, 4]")
    runtime.hold()
    async with client_of(served) as client:
        waiting = asyncio.create_task(client.post(INFER, content=body))
        await until(lambda: len(runtime.waiting) == 1)
        assert services_of(served).inflight.taken == len(body) + rows * 16
        runtime.release()
        assert (await waiting).status_code == 200
    assert services_of(served).inflight.taken == 0


async def test_data_over_the_limit_is_refused_before_it_is_read(
    served: FastAPI, readers: list[threading.Thread]
) -> None:
    body = long()
    whole = len(body) + 16
    # A request must leave as much room as it takes.
    services_of(served).inflight.take(services_of(served).settings.max_inflight_bytes - 2 * whole + 1, 0)
    async with client_of(served) as client:
        refused(await client.post(INFER, content=body), 503, "Unavailable")
    assert readers == []


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("coding", [None, "gzip"])
async def test_a_long_answer_is_written_in_a_thread(
    served: FastAPI, readers: list[threading.Thread], way: str, coding: str | None
) -> None:
    rows = LONG_BYTES // 16 + 1
    x = np.linspace(-1, 1, 4 * rows, dtype=np.float32)
    described = {"name": "x", "datatype": "FP32", "shape": [rows, 4]}
    document = json.dumps({"inputs": [described | {"parameters": {"binary_data_size": x.nbytes}}]}).encode()
    headers = [*WAYS[way], f"Inference-Header-Content-Length: {len(document)}"]
    headers += [] if coding is None else [f"Accept-Encoding: {coding}"]
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(request(INFER, document + x.tobytes(), *headers))
        assert answer.status == 200
        assert len(server.state.connections) == 1
    body = answer.body if coding is None else gzip.decompress(answer.body)
    assert np.array_equal(np.float32(json.loads(body)["outputs"][0]["data"]), x)
    (thread,) = readers
    assert thread is not threading.current_thread()
    assert services_of(served).inflight.taken == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("count", "elsewhere"), [(4, False), (LONG_CLASSES + 1, True)])
async def test_many_classes_are_found_in_a_thread(
    served: FastAPI, finders: list[threading.Thread], way: str, count: int, elsewhere: bool
) -> None:
    x = np.arange(LONG_CLASSES + 4, dtype=np.float32)
    described = {"name": "x", "datatype": "FP32", "shape": [len(x) // 4, 4]}
    tensor = described | {"parameters": {"binary_data_size": x.nbytes}}
    asked = {"name": "y", "parameters": {"classification": count}}
    document = json.dumps({"inputs": [tensor], "outputs": [asked]}).encode()
    headers = [*WAYS[way], f"Inference-Header-Content-Length: {len(document)}"]
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(request(INFER, document + x.tobytes(), *headers))
    (y,) = json.loads(answer.body)["outputs"]
    assert (y["datatype"], y["shape"]) == ("BYTES", [count])
    last = len(x) - 1
    assert y["data"] == [f"{last - place}.000000:{last - place}" for place in range(count)]
    (finder,) = finders
    assert (finder is not threading.current_thread()) == elsewhere


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("length", "in_a_thread"), [(LONG_STRINGS, 1), (LONG_STRINGS - 4, 0)])
async def test_long_strings_are_written_as_json_in_a_thread(
    served: FastAPI,
    runtime: FakeRuntime,
    readers: list[threading.Thread],
    *,
    way: str,
    length: int,
    in_a_thread: int,
) -> None:
    runtime.outputs = [TensorSpec("y", "BYTES", [-1])]
    strings = struct.pack("<I", length) + b"a" * length
    runtime.compute = lambda inputs: [Output.of("y", "BYTES", [1], strings)]
    async with client_of(served) as client:
        (await client.post("/engines?name=labels", content=onnx_plan(1))).raise_for_status()
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(request("/engines/labels/infer", of("[1, 2, 3, 4]"), *WAYS[way]))
    assert json.loads(answer.body)["outputs"][0]["data"] == ["a" * length]
    assert [thread is not threading.current_thread() for thread in readers] == [True] * in_a_thread


@pytest.mark.parametrize("way", WAYS)
async def test_a_body_larger_than_its_inputs_can_be_is_refused_before_it_arrives(
    served: FastAPI, runtime: FakeRuntime, way: str
) -> None:
    async with client_of(served) as client:
        runtime.inputs = [
            TensorSpec("x", "FP32", [-1, 4], [ShapeRange([1, 4], [1, 4], [n, 4]) for n in (8, 2)])
        ]
        (await client.post("/engines", params={"name": "small"}, content=onnx_plan(1))).raise_for_status()
    x = {"name": "x", "shape": [8, 4], "datatype": "FP32", "parameters": {"binary_data_size": 128}}
    document = json.dumps({"inputs": [x], "parameters": {"binary_data_output": True}}).encode()
    headers = (*WAYS[way], f"Inference-Header-Content-Length: {len(document)}")
    async with listening(served) as server:
        async with Connection(server) as connection:
            body = document + bytes(128)
            assert (await connection.ask(request("/engines/small/infer", body, *headers))).status == 200
            whole = request("/engines/small/infer", document + bytes(129), *headers)
            answer = await connection.ask(whole[:-129])
            assert answer.status == 400
            assert b"has 129 bytes of tensors behind its JSON" in answer.body
            assert b"together take at most 128." in answer.body
        async with Connection(server) as connection:  # without that limit, the body is read
            answer = await connection.ask(request(INFER, document + bytes(129), *headers))
            assert b"1 bytes of the body belong to no input" in answer.body
