"""Inference requests and answers in the binary form of the Open Inference Protocol: JSON, then blobs."""

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from tests import bodies
from tests.fakes.runtime import Output
from tests.tensors import Tensor, output, same, tensors
from trtserve.codec import InferRequest
from trtserve.errors import InvalidInput, TrtserveError


def described(name: str = "x", size: object = 16, **changes: object) -> dict[str, object]:
    parameters = {"binary_data_size": size}
    return {"name": name, "shape": [4], "datatype": "FP32", "parameters": parameters} | changes


def body_of(inputs: list[dict[str, object]], blobs: bytes, **request: object) -> tuple[bytes, Headers]:
    header = json.dumps({"inputs": inputs} | request).encode()
    return header + blobs, Headers({"Inference-Header-Content-Length": str(len(header))})


def decode(inputs: list[dict[str, object]], blobs: bytes, **request: object) -> InferRequest:
    body, headers = body_of(inputs, blobs, **request)
    return bodies.decode(headers, body)


def encode(outputs: list[Output], *, binary: list[bool]) -> tuple[dict[str, Any], memoryview]:
    """The answer's JSON, and the bytes behind it."""
    body, headers = bodies.encode(
        decode([], b""), outputs, list(enumerate(binary)), model_name="net", model_version="1"
    )
    assert headers["Content-Type"] == "application/octet-stream"
    length = int(headers["Inference-Header-Content-Length"])
    return json.loads(body[:length]), memoryview(body)[length:]


@given(st.lists(tensors(finite=False), min_size=1, max_size=3))
def test_every_datatype_and_shape_survives_both_ways(sent: list[Tensor]) -> None:
    outputs = [output(datatype, array, f"y{n}") for n, (datatype, array) in enumerate(sent)]
    answer, blobs = encode(outputs, binary=[True] * len(sent))
    came = decode(answer["outputs"], bytes(blobs)).inputs
    assert [(name, datatype, shape) for name, datatype, shape, _ in came] == [
        (f"y{n}", datatype, list(array.shape)) for n, (datatype, array) in enumerate(sent)
    ]
    for (datatype, array), (*_, buffer) in zip(sent, came, strict=True):
        assert same(datatype, array, buffer)


def test_blobs_are_views_of_the_body() -> None:
    body, headers = body_of([described()], np.arange(4, dtype=np.float32).tobytes())
    ((*_, buffer),) = bodies.decode(headers, body).inputs
    assert np.shares_memory(np.frombuffer(body, np.uint8), np.frombuffer(buffer, np.uint8))


def test_inputs_with_data_and_with_blobs_can_be_mixed() -> None:
    listed: dict[str, object] = {"name": "j", "shape": [2], "datatype": "INT8", "data": [1, 2]}
    a, b = bytes(range(16)), bytes(range(16, 32))
    came = decode([described("a"), listed, described("b")], a + b).inputs
    assert [bytes(memoryview(buffer).cast("B")) for *_, buffer in came] == [a, b"\x01\x02", b]


def test_outputs_in_the_json_and_behind_it_can_be_mixed() -> None:
    x = np.array([1, 2], np.int16)
    answer, blobs = encode(
        [output("INT16", x, "a"), output("INT16", x, "b"), output("INT16", x, "c")],
        binary=[True, False, True],
    )
    a, b, c = answer["outputs"]
    assert a["parameters"] == c["parameters"] == {"binary_data_size": 4}
    assert "data" not in a
    assert b["data"] == [1, 2]
    assert "parameters" not in b
    assert bytes(blobs) == 2 * x.tobytes()


def test_a_header_length_of_the_whole_body_means_json_alone() -> None:
    request = decode([{"name": "x", "shape": [1], "datatype": "BOOL", "data": [True]}], b"")
    assert len(request.inputs) == 1


def test_the_header_length_applies_to_every_content_type() -> None:
    body, headers = body_of([described()], bytes(16))
    for content_type in ("application/octet-stream", "application/json", "application/x-safetensors"):
        assert bodies.decode(Headers({**headers, "content-type": content_type}), body).inputs


@pytest.mark.parametrize("length", ["abc", "-1", "1.5", "", "+5", "²", "100000", "9" * 5_000])
def test_a_malformed_header_length_is_refused(length: str) -> None:
    body, _ = body_of([described()], bytes(16))
    with pytest.raises(InvalidInput, match=r"Inference-Header-Content-Length is .*the body, which has \d+"):
        bodies.decode(Headers({"Inference-Header-Content-Length": length}), body)


def test_a_header_length_that_cuts_the_json_is_refused() -> None:
    body, _ = body_of([described()], bytes(16))
    with pytest.raises(InvalidInput, match="not JSON"):
        bodies.decode(Headers({"Inference-Header-Content-Length": "10"}), body)


@pytest.mark.parametrize("size", [15, 17, 0, -16, 16.5, 1e300, "16", True, [16], 2**63])
def test_a_size_that_differs_from_the_shape_is_refused(size: object) -> None:
    with pytest.raises(InvalidInput, match=r"Tensor 'x' has .* bytes of data; FP32 \[4\] takes 16"):
        decode([described(size=size)], bytes(16))


def test_a_shape_too_large_for_any_memory_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Tensor 'x' has 16 bytes of data") as refused:
        decode([described(shape=[2**62] * 64)], bytes(16))
    assert len(str(refused.value)) < 2_000


def test_a_body_that_ends_early_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Tensor 'b' takes 16 bytes; only 8 are left"):
        decode([described("a"), described("b")], bytes(24))


def test_bytes_behind_the_last_input_are_refused() -> None:
    with pytest.raises(InvalidInput, match="4 bytes of the body belong to no input"):
        decode([described()], bytes(20))


def test_an_input_with_data_and_a_blob_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'x' has both data and parameters"):
        decode([described(data=[1, 2, 3, 4])], bytes(16))


def test_a_blob_without_its_size_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'x' has neither data nor parameters"):
        decode([described(parameters={})], bytes(16))


@given(st.binary(max_size=100), st.text(max_size=8) | st.integers(-1, 120).map(str))
def test_any_bytes_are_decoded_or_refused(body: bytes, length: str) -> None:
    with suppress(TrtserveError):
        assert isinstance(bodies.decode({"Inference-Header-Content-Length": length}, body), InferRequest)


@given(st.integers(-20, 40), st.binary(max_size=40), st.lists(st.integers(0, 2**64), max_size=70))
def test_any_size_and_blob_are_decoded_or_refused(size: int, blobs: bytes, shape: list[int]) -> None:
    with suppress(TrtserveError):
        assert isinstance(decode([described(size=size, shape=shape)], blobs), InferRequest)
