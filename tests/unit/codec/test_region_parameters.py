"""Tensors in shared memory: how requests and answers describe them."""

import json

import pytest
from starlette.datastructures import Headers

from tests import bodies
from tests.fakes.runtime import Output, TensorSpec
from trtserve import codec
from trtserve.codec import InferRequest
from trtserve.codec.request import RegionPart
from trtserve.errors import InvalidInput

REGION = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
SPECS = [TensorSpec("a", "FP32", [4]), TensorSpec("b", "FP32", [4])]


def tensor(**changes: object) -> dict[str, object]:
    return {"name": "x", "shape": [4], "datatype": "FP32", "parameters": REGION} | changes


def decode(**request: object) -> InferRequest:
    return bodies.decode(Headers(), json.dumps({"inputs": []} | request).encode())


def refusal(**request: object) -> str:
    with pytest.raises(InvalidInput) as refused:
        decode(**request)
    return str(refused.value)


def test_an_input_names_the_place_of_its_data() -> None:
    request = decode(inputs=[tensor(), tensor(name="y", parameters=REGION | {"shared_memory_offset": 8})])
    assert [data for *_, data in request.inputs] == [RegionPart("r", 0, 16), RegionPart("r", 8, 16)]
    assert request.shared
    assert not decode(inputs=[tensor(parameters={}, data=[1, 2, 3, 4])]).shared


def test_inputs_in_shared_memory_and_in_the_body_can_be_mixed() -> None:
    blob = tensor(name="y", parameters={"binary_data_size": 16})
    header = json.dumps({"inputs": [tensor(), blob, tensor(name="z", parameters={}, data=[1] * 4)]}).encode()
    headers = Headers({"Inference-Header-Content-Length": str(len(header))})
    x, y, z = (data for *_, data in bodies.decode(headers, header + bytes(range(16))).inputs)
    assert x == RegionPart("r", 0, 16)
    assert bytes(memoryview(y)) == bytes(range(16))  # type: ignore[arg-type]
    assert len(memoryview(z)) == 4  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": [1, 2, 3, 4]}, "'x' has both data and a shared memory region"),
        (
            {"parameters": REGION | {"binary_data_size": 16}},
            "'x' has both parameters.binary_data_size and a shared memory region",
        ),
        (
            {"parameters": {"shared_memory_region": "r"}},
            "parameters of tensor 'x' are about shared memory, but have no shared_memory_byte_size",
        ),
        ({"parameters": {"shared_memory_byte_size": 16}}, "have no shared_memory_region"),
        ({"parameters": {"shared_memory_offset": 0}}, "have no shared_memory_region"),
        ({"parameters": REGION | {"shared_memory_region": 1}}, "region of tensor 'x' has the name 1"),
        ({"parameters": REGION | {"shared_memory_byte_size": "16"}}, "shared_memory_byte_size of tensor 'x'"),
        ({"parameters": REGION | {"shared_memory_byte_size": True}}, "is True; it must be a whole number"),
        ({"parameters": REGION | {"shared_memory_offset": -1}}, "shared_memory_offset of tensor 'x' is -1"),
        ({"parameters": REGION | {"shared_memory_offset": 2**63}}, "it must be a whole number of bytes"),
        ({"parameters": REGION | {"shared_memory_byte_size": 15}}, "has 15 bytes of data; FP32 [4] takes 16"),
        ({"parameters": REGION | {"shared_memory_byte_size": 17}}, "has 17 bytes of data; FP32 [4] takes 16"),
    ],
)
def test_an_input_with_wrong_region_parameters_is_refused(changes: dict[str, object], sentence: str) -> None:
    assert sentence in refusal(inputs=[tensor(**changes)])


def test_outputs_are_selected_with_their_places() -> None:
    # tritonclient marks an output in shared memory as not binary; both values are accepted.
    for binary in ({}, {"binary_data": False}, {"binary_data": True}):
        request = decode(outputs=[{"name": "b", "parameters": REGION | binary}, {"name": "a"}])
        assert request.shared
        assert codec.select(request, SPECS) == [(1, RegionPart("r", 0, 16)), (0, False)]  # type: ignore[arg-type]


def test_an_output_with_wrong_region_parameters_is_refused() -> None:
    output = {"name": "a", "parameters": {"shared_memory_region": "r"}}
    assert "parameters of output 'a' are about shared memory" in refusal(outputs=[output])
    output = {"name": "a", "parameters": REGION | {"shared_memory_offset": None}}
    assert "shared_memory_offset of output 'a' is None" in refusal(outputs=[output])


def test_an_output_in_a_region_cannot_be_safetensors() -> None:
    body = json.dumps({"inputs": [], "outputs": [{"name": "a", "parameters": REGION}]}).encode()
    request = bodies.decode(Headers({"Accept": "application/x-safetensors"}), body)
    with pytest.raises(InvalidInput, match="accept application/json"):
        codec.select(request, SPECS)  # type: ignore[arg-type]


def test_an_answer_describes_an_output_in_a_region_without_its_data() -> None:
    outputs = [Output.of(name, "INT8", [2], b"\1\2") for name in "abc"]
    selected: codec.Selected = [(0, RegionPart("r", 0, 16)), (1, True), (2, RegionPart("s", 8, 2))]
    body, headers = bodies.encode(decode(), outputs, selected)
    length = int(headers["Inference-Header-Content-Length"])
    assert body[length:] == b"\1\2"
    described = {"shape": [2], "datatype": "INT8"}
    assert json.loads(body[:length])["outputs"] == [
        described | {"name": "a"},
        described | {"name": "b", "parameters": {"binary_data_size": 2}},
        described | {"name": "c"},
    ]
    body, headers = bodies.encode(decode(), outputs, selected[:1])
    assert headers == {"Content-Type": "application/json"}
    assert json.loads(body)["outputs"] == [described | {"name": "a"}]
