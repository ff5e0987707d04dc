"""Inference by the clients: blocking, asynchronous, in streams, in every form."""

import queue
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto

from tests.e2e.server import Server
from tests.e2e.triton.clients import (
    EVERYWHERE,
    GRPC,
    HTTP,
    TritonClient,
    X,
    also_holds,
    doubled,
    refused,
    upload,
)
from tests.seam.models import doubling


@EVERYWHERE
def test_infer(client: TritonClient, server: Server, plans: dict[int, bytes]) -> None:
    result = client.infer("net", [client.input("x", X)], request_id="mine")
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)
    response = result.get_response()
    if client.is_grpc:
        assert (response.id, response.model_name, response.model_version) == ("mine", "net", "1")
    else:
        assert (response["id"], response["model_name"], response["model_version"]) == ("mine", "net", "1")
    upload(server, plans[3])
    doubled(client, factor=3)
    doubled(client, model_version="1")
    doubled(
        client, factor=3, priority=1, timeout=60_000_000, outputs=[client.module.InferRequestedOutput("y")]
    )


@EVERYWHERE
@pytest.mark.parametrize("id", [7, "seven"])
def test_infer_of_a_sequence_is_refused(client: TritonClient, id: int | str) -> None:
    for first, last in ((True, False), (False, False), (False, True)):
        error = refused(
            client,
            "infer",
            "net",
            [client.input("x", X)],
            sequence_id=id,
            sequence_start=first,
            sequence_end=last,
        )
        assert error.status() in {"501", "StatusCode.UNIMPLEMENTED"}
        assert "sequence_id" in error.message()
    doubled(client, sequence_id=0)


@EVERYWHERE
def test_infer_reports_what_is_wrong_with_a_request(client: TritonClient) -> None:
    # NVIDIA's examples look for these words at the beginning.
    unknown = "Request for unknown model: "
    for model, version in (("nobody", ""), ("net", "9")):
        error = refused(client, "infer", model, [client.input("x", X)], model_version=version)
        assert error.message().startswith(unknown)
    wrong = {
        "There is no engine 'nobody'": ("nobody", client.input("x", X), {}),
        "'net' has no version '9'": ("net", client.input("x", X), {"model_version": "9"}),
        "'z'": ("net", client.input("z", X), {}),
        "INT32": ("net", client.input("x", X.astype(np.int32), "INT32"), {}),
        "[2, 3]": ("net", client.input("x", X[:, :3].copy()), {}),
        "'w'": ("net", client.input("x", X), {"outputs": [client.module.InferRequestedOutput("w")]}),
        "BYTES": ("net", client.input("x", np.array([b"a", b"bc"], np.object_), "BYTES"), {}),
    }
    for told, (model, tensor, options) in wrong.items():
        assert told in refused(client, "infer", model, [tensor], **options).message()
    doubled(client)


ARRAYS = {
    "FP16": (TensorProto.FLOAT16, np.array([[1.5], [-2]], np.float16)),
    "BF16": (TensorProto.BFLOAT16, np.array([[1.5], [-2]], ml_dtypes.bfloat16)),
    "FP64": (TensorProto.DOUBLE, np.array([[0.5]], np.float64)),
    "INT64": (TensorProto.INT64, np.array([[7], [-1]], np.int64)),
    "FP32": (TensorProto.FLOAT, np.zeros((0, 4), np.float32)),  # without elements
}


@EVERYWHERE
@pytest.mark.parametrize("datatype", ARRAYS)
def test_infer_with_arrays_of_a_datatype(
    client: TritonClient, server: Server, tmp_path: Path, datatype: str
) -> None:
    element_type, x = ARRAYS[datatype]
    upload(
        server, doubling(tmp_path / "typed.onnx", element_type, ["n", x.shape[1]]).read_bytes(), name="typed"
    )
    y = client.infer("typed", [client.input("x", x, datatype)]).as_numpy("y")
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, x + x)


@EVERYWHERE
def test_infer_with_a_scalar(client: TritonClient, server: Server, tmp_path: Path) -> None:
    upload(server, doubling(tmp_path / "scalar.onnx", shape=[]).read_bytes(), name="scalar")
    assert client.call("get_model_metadata", "scalar")["inputs"][0].get("shape", []) == []
    y = client.infer("scalar", [client.input("x", np.array(3, np.float32))]).as_numpy("y")
    assert (y.shape, y) == ((), 6)


@HTTP
@pytest.mark.parametrize("way", ["binary", "json", "binary in, json out", "json in, binary out"])
def test_infer_with_tensors_in_either_form(client: TritonClient, way: str) -> None:
    tensor = client.input("x", X, binary_data=way.startswith("binary"))
    output = client.module.InferRequestedOutput("y", binary_data=way in {"binary", "json in, binary out"})
    result = client.infer("net", [tensor], outputs=[output])
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)


@HTTP
@pytest.mark.parametrize("asked", ["gzip", "deflate"])
def test_infer_with_compressed_bodies(client: TritonClient, asked: str) -> None:
    x = np.arange(4096, dtype=np.float32).reshape(1024, 4)
    result = client.infer(
        "net",
        [client.input("x", x)],
        request_compression_algorithm=asked,
        response_compression_algorithm=asked,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * x)


@GRPC
def test_infer_over_a_compressed_channel(client: TritonClient) -> None:
    doubled(client, compression_algorithm="gzip")


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_async_infer(client: TritonClient) -> None:
    if client.is_grpc:
        answers: queue.Queue[Any] = queue.Queue()
        for _ in range(4):
            client.client.async_infer(
                "net", [client.input("x", X)], lambda result, error: answers.put((result, error))
            )
        results = []
        for _ in range(4):
            result, error = answers.get(timeout=60)
            assert error is None
            results.append(result)
    else:
        asked = [client.client.async_infer("net", [client.input("x", X)]) for _ in range(4)]
        results = [request.get_result() for request in asked]
    for result in results:
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)


@also_holds("start_stream", "stop_stream")
@pytest.mark.parametrize("kind", ["grpc"])
def test_async_stream_infer(client: TritonClient) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.client.start_stream(lambda result, error: answers.put((result, error)))
    for n in (1, 2, 3):
        client.client.async_stream_infer("net", [client.input("x", n * X)], request_id=str(n))
    client.client.async_stream_infer("nobody", [client.input("x", X)])
    client.client.async_stream_infer("net", [client.input("x", X)])
    for n in (1, 2, 3):
        result, error = answers.get(timeout=60)
        assert error is None
        assert result.get_response().id == str(n)
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * n * X)
    _, error = answers.get(timeout=60)
    assert "There is no engine 'nobody'" in error.message()
    result, error = answers.get(timeout=60)
    assert error is None, "a failed request does not end the stream"
    client.client.stop_stream()


@pytest.mark.parametrize("kind", ["grpc"])
@pytest.mark.parametrize("asked", [True, False])
def test_async_stream_infer_marks_the_last_answer_to_a_request(client: TritonClient, asked: bool) -> None:
    """Clients that also support decoupled models wait for that mark."""
    answers: queue.Queue[Any] = queue.Queue()
    client.client.start_stream(lambda result, error: answers.put((result, error)))
    client.client.async_stream_infer("net", [client.input("x", X)], enable_empty_final_response=asked)
    result, error = answers.get(timeout=60)
    client.client.stop_stream()
    assert error is None
    assert result.get_response().parameters["triton_final_response"].bool_param is True
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)
    assert answers.empty(), "each request has one answer"


@pytest.mark.parametrize("kind", ["grpc.aio"])
def test_stream_infer(client: TritonClient) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for n in (1, 2, 3):
            yield {"model_name": "net", "inputs": [client.input("x", n * X)], "request_id": str(n)}

    async def answers() -> list[tuple[Any, Any]]:
        return [answer async for answer in client.client.stream_infer(requests())]

    for n, (result, error) in enumerate(client.run(answers()), start=1):
        assert error is None
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * n * X)


@also_holds("parse_response_body")
@HTTP
def test_generate_request_body(client: TritonClient, server: Server) -> None:
    body, length = client.client.generate_request_body([client.input("x", X)])
    answer = server.client.post(
        "/v2/models/net/infer", content=body, headers={"Inference-Header-Content-Length": str(length)}
    )
    assert answer.status_code == 200
    result = client.client.parse_response_body(
        answer.content, header_length=int(answer.headers.get("Inference-Header-Content-Length", 0)) or None
    )
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)
