"""BYTES tensors: strings in JSON, lengths and bytes in the binary form."""

import json
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from tests import bodies
from tests.fakes.runtime import Output, TensorSpec
from trtserve import codec
from trtserve.codec import InferRequest
from trtserve.codec.request import RequestedOutput
from trtserve.errors import ExecutionFailed, InvalidInput

LONE_LENGTH = struct.pack("<I", 2**32 - 1)


def packed(*elements: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def listed(data: object, shape: list[int]) -> bytes:
    """The binary form of strings decoded from JSON."""
    x = {"name": "x", "shape": shape, "datatype": "BYTES", "data": data}
    ((*_, buffer),) = bodies.decode(Headers(), json.dumps({"inputs": [x]}).encode()).inputs
    return bytes(memoryview(buffer))  # type: ignore[arg-type]


def decode(blob: bytes, shape: list[int], size: object = None) -> InferRequest:
    parameters = {"binary_data_size": len(blob) if size is None else size}
    x = {"name": "x", "shape": shape, "datatype": "BYTES", "parameters": parameters}
    header = json.dumps({"inputs": [x]}).encode()
    return bodies.decode(Headers({"Inference-Header-Content-Length": str(len(header))}), header + blob)


def encode(blob: bytes, *, binary: bool) -> dict[str, Any]:
    outputs = [Output.of("y", "BYTES", [2], blob)]
    body, headers = bodies.encode(
        InferRequest(inputs=[]), outputs, [(0, binary)], model_name="net", model_version="1"
    )
    length = int(headers.get("Inference-Header-Content-Length", len(body)))
    assert body[length:] == (blob if binary else b"")
    return dict(json.loads(body[:length])["outputs"][0])


def test_strings_can_be_flat_or_nested() -> None:
    four = packed(b"a", b"", "é".encode(), b"\0d")
    assert listed(["a", "", "é", "\0d"], [2, 2]) == four
    assert listed([["a", ""], ["é", "\0d"]], [2, 2]) == four
    assert listed(["a"], []) == packed(b"a")
    assert listed([], [0, 3]) == b""


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (["a"], "'x' has 1 elements in its data; shape [2] takes 2"),
        (["a", 1], "'x' has 1 at element 1 of its data; BYTES takes strings"),
        (["a", None], "has null at element 1"),
        ([True, "a"], "has true at element 0"),
        (["a", ["b"]], "has ['b'] at element 1"),
        ([["a", "b"]], "not nested like its shape [2]"),
        ("ab", "is 'ab'; it must be a list"),
    ],
)
def test_data_other_than_a_list_of_strings_is_refused(data: object, sentence: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        listed(data, [2])
    assert sentence in str(refused.value)


@given(st.lists(st.binary(max_size=9), max_size=6))
def test_any_elements_are_decoded_unchanged(elements: list[bytes]) -> None:
    blob = packed(*elements)
    ((*_, buffer),) = decode(blob, [len(elements)]).inputs
    assert bytes(memoryview(buffer)) == blob  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("blob", "shape", "sentence"),
    [
        (packed(b"abc"), [2], "has 7 bytes of data; BYTES [2] takes 8 or more"),
        (packed(b"a"), [0], "has 5 bytes of data; BYTES [0] takes 0"),
        (b"", [], "has 0 bytes of data; BYTES [] takes 4 or more"),
    ],
)
def test_a_malformed_blob_is_refused(blob: bytes, shape: list[int], sentence: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        decode(blob, shape)
    assert sentence in str(refused.value)


@pytest.mark.parametrize("size", [-1, 5.5, "5", True, 4, 6, 6.0])
def test_the_size_must_be_that_of_the_blob(size: object) -> None:
    with pytest.raises(InvalidInput):
        decode(packed(b"a"), [1], size)


def test_an_output_is_a_list_of_strings_or_a_blob() -> None:
    blob = packed("é".encode(), b"")
    assert encode(blob, binary=False)["data"] == ["é", ""]
    described = encode(blob, binary=True)
    assert described["parameters"] == {"binary_data_size": len(blob)}
    assert "data" not in described


def test_an_output_that_is_not_utf8_needs_the_binary_form() -> None:
    with pytest.raises(InvalidInput, match="'y' has bytes that are not UTF-8 text, so JSON"):
        encode(packed(b"\xff", b""), binary=False)
    assert encode(packed(b"\xff", b""), binary=True)
    with pytest.raises(ExecutionFailed, match="bad output 'y': an element is 4294967295 bytes long"):
        encode(LONE_LENGTH, binary=False)


def test_safetensors_cannot_hold_strings() -> None:
    request = InferRequest(inputs=[], answer=codec.Form.SAFETENSORS)
    specs: list[Any] = [TensorSpec("x", "FP32", [-1]), TensorSpec("y", "BYTES", [-1])]
    with pytest.raises(InvalidInput, match="'y' is strings, BYTES, which a safetensors file cannot have"):
        codec.select(request, specs)
    with pytest.raises(InvalidInput, match="'y' is strings, BYTES, which a safetensors file cannot have"):
        codec.select(replace(request, outputs=[RequestedOutput("y", False)]), specs)
    assert codec.select(replace(request, outputs=[RequestedOutput("x", False)]), specs) == [(0, False)]


def test_the_refusal_of_strings_names_the_datatype_of_the_engine() -> None:
    specs: list[Any] = [TensorSpec("x", "FP32", [-1, 4]), TensorSpec("free", "INT8", None)]
    codec.check_datatypes([("x", "FP64", [1])], specs)  # left to the runtime
    with pytest.raises(InvalidInput, match=r"'x' is BYTES \[1\]; the engine's input is FP32 \[-1, 4\]"):
        codec.check_datatypes([("x", "BYTES", [1])], specs)
    codec.check_datatypes([("s", "BYTES", [1])], [*specs, TensorSpec("s", "BYTES", [-1])])
    with pytest.raises(
        InvalidInput, match=r"no input 'z'; its inputs: 'x' \(FP32 \[-1, 4\]\), 'free' \(INT8"
    ):
        codec.check_datatypes([("z", "BYTES", [1])], specs)
