"""Inference requests and answers as safetensors files, checked against the safetensors package."""

import json
import math
from contextlib import suppress

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from tests import bodies
from tests.fakes.runtime import Output, TensorSpec
from tests.tensors import Tensor, output, same, tensors
from trtserve import codec
from trtserve.codec import Form, InferRequest
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.request import RequestedOutput
from trtserve.codec.tensor import MOST_DOCUMENT_BYTES
from trtserve.errors import InvalidInput, TooLarge, TrtserveError

HEADERS = Headers({"Content-Type": "application/x-safetensors"})
TORCH = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "BF16": torch.bfloat16,
    "FP32": torch.float32,
    "FP64": torch.float64,
}


def file_of(header: object, data: bytes = b"") -> bytes:
    document = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(document).to_bytes(8, "little") + document + data


def decode(file: bytes) -> InferRequest:
    return bodies.decode(HEADERS, file)


def encode(outputs: list[Output]) -> bytes:
    file, headers = bodies.encode(
        decode(file_of({})),
        outputs,
        [(index, False) for index in range(len(outputs))],
        model_name="net",
        model_version="3",
    )
    assert headers == {"Content-Type": "application/x-safetensors"}
    return file


@given(st.lists(tensors(finite=False), max_size=3))
def test_every_datatype_and_shape_survives_both_ways(sent: list[Tensor]) -> None:
    file = encode([output(datatype, array, f"y{n}") for n, (datatype, array) in enumerate(sent)])
    came = {name: rest for name, *rest in decode(file).inputs}
    theirs = dict(safetensors.deserialize(file))
    assert len(came) == len(theirs) == len(sent)
    for n, (datatype, array) in enumerate(sent):
        came_datatype, shape, buffer = came[f"y{n}"]
        assert (came_datatype, shape) == (datatype, list(array.shape))
        assert same(datatype, array, buffer)
        tensor = theirs[f"y{n}"]
        assert (tensor["dtype"], tensor["shape"]) == (DATATYPES[datatype].safetensors, shape)
        assert same(datatype, array, bytes(tensor["data"]))


@pytest.mark.parametrize("datatype", sorted(TORCH))
@pytest.mark.parametrize("shape", [[], [0, 3], [2, 3]])
def test_files_are_exchanged_with_torch_in_both_directions(datatype: str, shape: list[int]) -> None:
    x = torch.arange(math.prod(shape)).reshape(shape).to(TORCH[datatype])
    ((name, came, came_shape, buffer),) = decode(safetensors.torch.save({"x": x})).inputs
    assert (name, came, came_shape) == ("x", datatype, shape)
    answer = encode([Output.of("y", datatype, shape, buffer)])
    y = safetensors.torch.load(answer)["y"]
    assert y.dtype is x.dtype
    assert torch.equal(x, y)


def test_tensors_are_views_of_the_body() -> None:
    body = safetensors.torch.save({"x": torch.arange(4)})
    ((*_, buffer),) = decode(body).inputs
    assert np.shares_memory(np.frombuffer(body, np.uint8), np.frombuffer(buffer, np.uint8))


def test_the_answer_names_the_model_and_its_data_is_aligned() -> None:
    file = encode([output("UINT8", np.arange(3, dtype=np.uint8))])
    length = int.from_bytes(file[:8], "little")
    assert length % 8 == 0
    assert json.loads(file[8 : 8 + length])["__metadata__"] == {"model_name": "net", "model_version": "3"}


def test_a_file_is_answered_with_a_file_unless_json_is_accepted() -> None:
    assert decode(file_of({})).answer is Form.SAFETENSORS
    both = Headers({**HEADERS, "accept": "application/json"})
    assert bodies.decode(both, file_of({})).answer is Form.PROTOCOL


def test_outputs_that_a_file_cannot_have_are_refused_before_the_engine_runs() -> None:
    specs = [TensorSpec("y", "FP32", [1]), TensorSpec("label", "BYTES", [1])]

    def select(answer: Form, outputs: list[str] | None) -> list[int]:
        asked = None if outputs is None else [RequestedOutput(name, False) for name in outputs]
        request = InferRequest(inputs=[], outputs=asked, answer=answer)
        return [index for index, _ in codec.select(request, specs)]  # type: ignore[arg-type]

    for outputs in (None, ["label"], ["y", "label"]):
        with pytest.raises(InvalidInput, match=r"'label' is strings, BYTES, which .* application/json"):
            select(Form.SAFETENSORS, outputs)
    assert select(Form.SAFETENSORS, ["y"]) == [0]
    assert select(Form.PROTOCOL, None) == [0, 1]


EITHER = Headers({**HEADERS, "accept": "application/x-safetensors, application/octet-stream"})
NUMBERS_AND_STRINGS = [
    output("FP32", np.ones(1, np.float32)),
    Output.of("label", "BYTES", [1], b"\1\0\0\0\xff"),
]


def answered_in_either(asked: list[str] | None) -> tuple[bytes, dict[str, str]]:
    """The answer with the outputs y and label, or those of them that are asked for."""
    request = bodies.decode(EITHER, file_of({}))
    if asked is not None:
        request.outputs = [RequestedOutput(name, False) for name in asked]
    specs = [TensorSpec("y", "FP32", [1]), TensorSpec("label", "BYTES", [1])]
    selected = codec.select(request, specs)  # type: ignore[arg-type]
    return bodies.encode(request, NUMBERS_AND_STRINGS, selected, model_name="net", model_version="3")


@pytest.mark.parametrize("asked", [None, ["label"], ["label", "y"]])
def test_strings_are_answered_in_the_binary_form_if_that_is_accepted_too(asked: list[str] | None) -> None:
    answer, headers = answered_in_either(asked)
    length = int(headers["Inference-Header-Content-Length"])
    assert [found["name"] for found in json.loads(answer[:length])["outputs"]] == (asked or ["y", "label"])
    assert b"\1\0\0\0\xff" in answer[length:]


def test_numbers_are_answered_with_a_file_if_both_forms_are_accepted() -> None:
    answer, headers = answered_in_either(["y"])
    assert headers == {"Content-Type": "application/x-safetensors"}
    assert safetensors.torch.load(answer).keys() == {"y"}


def test_metadata_is_not_read_as_a_tensor() -> None:
    assert decode(file_of({"__metadata__": {"format": "pt"}})).inputs == []


def test_an_empty_tensor_can_share_the_offset_of_another() -> None:
    described = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
    empty = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    assert len(decode(file_of({"x": described, "e": empty}, b"12")).inputs) == 2


def test_a_header_can_end_in_spaces() -> None:
    assert decode(file_of(b"{}      ")).inputs == []


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "not a safetensors file, or not a whole one"),
        (b"\x01\x00", "not a safetensors file, or not a whole one"),
        (b"\xff" * 16, "not a safetensors file, or not a whole one"),
        (safetensors.torch.save({"x": torch.ones(4)})[:40], "not a whole one"),
        (file_of(b""), "is not JSON"),
        (file_of(b"nothing"), "is not JSON"),
        (file_of(b"[" * 5_000), "is not JSON"),
        (file_of([]), "is not a JSON object"),
        (file_of({}, b"123"), "3 bytes of the safetensors file belong to no tensor"),
    ],
)
def test_a_malformed_file_is_refused(body: bytes, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        decode(body)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dtype": "F8_E4M3"}, "dtype 'F8_E4M3'; allowed are BOOL, U8"),
        ({"dtype": 4}, "lacks a valid dtype, shape or data_offsets"),
        ({"data_offsets": None}, "lacks a valid dtype, shape or data_offsets"),
        ({"data_offsets": [0]}, "lacks a valid dtype, shape or data_offsets"),
        ({"data_offsets": [0.0, 4.0]}, "lacks a valid dtype, shape or data_offsets"),
        ({"shape": 4}, "'x' has the shape 4; it must be a list"),
        ({"shape": [-4]}, r"'x' has the shape \[-4\]; it must be a list"),
        ({"shape": [4.0]}, r"'x' has the shape \[4.0\]; it must be a list"),
        ({"shape": [3]}, r"'x' has 4 bytes of data; UINT8 \[3\] takes 3"),
        ({"shape": [2**62] * 64}, "'x' has 4 bytes of data"),
        ({"dtype": "F32"}, r"'x' has 4 bytes of data; FP32 \[4\] takes 16"),
        ({"data_offsets": [1, 5]}, "'x' lies at bytes 1 to 5; the one before it ends at 0, the data at 4"),
        ({"data_offsets": [-4, 0]}, "'x' lies at bytes -4 to 0"),
        ({"data_offsets": [0, 5]}, "'x' lies at bytes 0 to 5; the one before it ends at 0, the data at 4"),
        ({"data_offsets": [4, 0]}, "'x' lies at bytes 4 to 0"),
        ({"data_offsets": [0, 10**30]}, "'x' "),
    ],
)
def test_a_wrong_description_of_a_tensor_is_refused(changes: dict[str, object], sentence: str) -> None:
    described = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]} | changes
    with pytest.raises(InvalidInput, match=sentence):
        decode(file_of({"x": described}, b"1234"))


@pytest.mark.parametrize("begin", [1, 3])
def test_tensors_that_overlap_or_leave_a_hole_are_refused(begin: int) -> None:
    first = {"dtype": "U8", "shape": [2], "data_offsets": [0, 2]}
    second = {"dtype": "U8", "shape": [2], "data_offsets": [begin, begin + 2]}
    with pytest.raises(InvalidInput, match=f"'b' lies at bytes {begin} to {begin + 2}; .* ends at 2"):
        decode(file_of({"b": second, "a": first}, bytes(begin + 2)))


def test_a_name_over_the_limit_is_refused() -> None:
    described = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    with pytest.raises(InvalidInput, match="at most 1024 characters") as refused:
        decode(file_of({"x" * 100_000: described}))
    assert len(str(refused.value)) < 500


def test_a_request_with_too_many_tensors_is_refused() -> None:
    empty = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
    header = {"__metadata__": {}} | {f"x{number}": empty for number in range(4096)}
    assert len(decode(file_of(header)).inputs) == 4096
    with pytest.raises(InvalidInput, match="The request has 4097 inputs; it must have at most 4096"):
        decode(file_of(header | {"x": empty}))


@given(st.binary(max_size=100))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    with suppress(TrtserveError):
        assert isinstance(decode(body), InferRequest)


JUNK = st.none() | st.booleans() | st.integers(-2, 2**64) | st.floats() | st.text(max_size=3)
DESCRIBED = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["U8", "F32", "F64"]) | JUNK,
        "shape": st.lists(st.integers(0, 3) | JUNK, max_size=3) | JUNK,
        "data_offsets": st.lists(st.integers(-1, 9) | JUNK, max_size=3) | JUNK,
    },
)


@given(st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), DESCRIBED | JUNK), st.binary(max_size=9))
def test_any_header_is_decoded_or_refused(header: object, data: bytes) -> None:
    with suppress(TrtserveError):
        assert isinstance(decode(file_of(header, data)), InferRequest)


def test_an_oversized_header_is_refused_before_it_is_read() -> None:
    described = b"{" + b" " * MOST_DOCUMENT_BYTES + b"}"
    with pytest.raises(TooLarge, match=r"header of the safetensors file has 524290 bytes; .* at most 524288"):
        bodies.decode(HEADERS, len(described).to_bytes(8, "little") + described)
