"""Tensor data as JSON of the Open Inference Protocol, in requests and in answers."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from tests import bodies
from tests.tensors import Array, Tensor, bfloat16_to_float32, output, same, tensors
from trtserve.codec import InferRequest
from trtserve.codec.datatypes import DATATYPES
from trtserve.errors import InvalidInput

JSON = Headers({"Content-Type": "application/json"})


def decode(*inputs: dict[str, object], **request: object) -> InferRequest:
    return bodies.decode(JSON, json.dumps({"inputs": inputs} | request).encode())


def values(datatype: str, data: object, shape: list[int] | None = None) -> Array:
    """The elements decoded from a request's data."""
    shape = [len(data)] if shape is None and isinstance(data, list) else shape
    request = decode({"name": "x", "datatype": datatype, "shape": shape, "data": data})
    ((_, _, _, buffer),) = request.inputs
    return np.frombuffer(buffer, DATATYPES[datatype].numpy)


def answer(*outputs: tuple[str, Array], request: InferRequest | None = None) -> dict[str, Any]:
    made = [output(datatype, array, f"y{n}") for n, (datatype, array) in enumerate(outputs)]
    body, headers = bodies.encode(
        request or decode(),
        made,
        [(index, False) for index in range(len(made))],
        model_name="net",
        model_version="2",
    )
    assert headers == {"Content-Type": "application/json"}
    return dict(json.loads(body))


@given(tensors(finite=True), st.booleans())
def test_every_datatype_and_shape_survives_both_ways(tensor_: Tensor, nested: bool) -> None:
    datatype, array = tensor_
    (sent,) = answer((datatype, array))["outputs"]
    assert (sent["datatype"], sent["shape"]) == (datatype, list(array.shape))
    if nested and array.ndim > 0:
        numbers = bfloat16_to_float32(array) if datatype == "BF16" else array
        sent["data"] = numbers.tolist()
    ((name, came_datatype, shape, buffer),) = decode(sent).inputs
    assert (name, came_datatype, shape) == ("y0", datatype, list(array.shape))
    assert same(datatype, array, buffer)


def test_data_can_be_flat_or_nested() -> None:
    assert values("INT32", [1, 2, 3, 4], [2, 2]).tolist() == [1, 2, 3, 4]
    assert values("INT32", [[1, 2], [3, 4]], [2, 2]).tolist() == [1, 2, 3, 4]


def test_a_scalar_is_a_list_of_one() -> None:
    assert values("FP64", [2.5], []).tolist() == [2.5]


def test_empty_tensors_are_accepted() -> None:
    assert values("FP32", [], [0, 3]).size == 0
    assert values("FP32", [[], []], [2, 0]).size == 0


def test_booleans_can_be_words_or_numbers() -> None:
    assert values("BOOL", [True, False, 1, 0]).tolist() == [True, False, True, False]


@pytest.mark.parametrize("datatype", sorted(name for name, known in DATATYPES.items() if known.integers))
def test_integers_can_be_written_as_floats(datatype: str) -> None:
    assert values(datatype, [1.0, 2, -0.0, 1e2]).tolist() == [1, 2, 0, 100]
    nested = values(datatype, [[1.0, 2.0], [3.0, 4.0]], [2, 2])
    assert (nested.tolist(), nested.dtype) == ([1, 2, 3, 4], np.dtype(DATATYPES[datatype].numpy))


def test_a_float_is_an_integer_only_where_it_is_exact() -> None:
    assert values("INT64", [2.0**53, -(2.0**53), 2**63 - 1]).tolist() == [2**53, -(2**53), 2**63 - 1]
    assert values("UINT64", [2.0**53, 2**64 - 1]).tolist() == [2**53, 2**64 - 1]


def test_floats_can_be_written_as_integers() -> None:
    assert values("FP16", [1, 2.5, -3]).tolist() == [1, 2.5, -3]


@pytest.mark.parametrize(
    ("number", "bits"),
    [
        (1.0, 0x3F80),
        (-2.0, 0xC000),
        (1.0 + 2**-8, 0x3F80),  # a tie: to the even value below
        (1.0 + 3 * 2**-8, 0x3F82),  # a tie: to the even value above
        (1.0 + 2**-8 + 2**-20, 0x3F81),
        (2**-133, 0x0001),  # the smallest positive number
        (2**-134, 0x0000),
        (3.3895313892515355e38, 0x7F7F),
        (-0.0, 0x8000),
    ],
)
def test_bfloat16_is_rounded_to_the_nearest_even(number: float, bits: int) -> None:
    assert values("BF16", [number]).tolist() == [bits]


@pytest.mark.parametrize(
    ("datatype", "element", "takes"),
    [
        ("INT32", 1.5, "1.5 .* INT32 takes whole numbers from -2147483648 to 2147483647"),
        ("INT32", -0.5, "-0.5 .* takes whole numbers"),
        ("INT32", 3e9, "3000000000 .* takes whole numbers from -2147483648 to 2147483647"),
        ("INT32", 1e300, "1e\\+300 .* takes whole numbers"),
        ("UINT8", -1.0, "-1 .* takes whole numbers from 0 to 255"),
        (
            "INT64",
            2.0**54,
            "1.8014398509481984e\\+16 .* those over 9007199254740992 without a point or an exp",
        ),
        ("INT32", True, "true .* takes whole numbers"),
        ("INT32", "3", "'3' .* takes whole numbers"),
        ("INT32", None, "null .* takes whole numbers"),
        ("INT32", 2**31, "2147483648 .* takes whole numbers"),
        ("UINT8", 256, "256 .* takes whole numbers from 0 to 255"),
        ("UINT8", -1, "-1 .* takes whole numbers from 0 to 255"),
        ("UINT16", 65536, "65536 .* takes whole numbers from 0 to 65535"),
        ("UINT32", -1, "-1 .* takes whole numbers from 0 to 4294967295"),
        ("UINT64", 2**64, "1.8446744073709552e\\+19 .* takes whole numbers from 0 to 18446744073709551615"),
        ("INT8", -129, "-129 .* takes whole numbers from -128 to 127"),
        ("INT64", 2**63, "9223372036854775808 .* to 9223372036854775807"),
        ("INT64", 2**64, "1.8446744073709552e\\+19 .* takes whole numbers"),
        ("INT64", -(2**63) - 1, "-9.223372036854776e\\+18 .* takes whole numbers"),
        ("FP32", True, "true .* takes numbers"),
        ("FP32", "nan", "'nan' .* takes numbers"),
        ("FP32", 1e39, "1e\\+39 .* FP32 takes numbers up to 3.4028235e\\+38"),
        ("FP16", 65520, "65520 .* FP16 takes numbers up to 65504"),
        ("BF16", -3.4e38, "-3.4e\\+38 .* BF16 takes numbers up to 3.3895314e\\+38"),
        ("FP64", {}, "{} .* takes numbers"),
        ("BOOL", 2, "2 .* BOOL takes true and false"),
        ("BOOL", 1.0, "1.0 .* takes true and false"),
        ("BOOL", "true", "'true' .* takes true and false"),
    ],
)
def test_an_element_that_the_datatype_cannot_hold_is_named(
    datatype: str, element: object, takes: str
) -> None:
    with pytest.raises(InvalidInput, match=f"Tensor 'x' has {takes}") as refused:
        values(datatype, [1, element, 0])
    assert "at element 1 of its data" in str(refused.value)


@pytest.mark.parametrize(("datatype", "greatest"), [("FP16", 65504), ("FP32", 3.4028234663852886e38)])
def test_the_largest_number_is_accepted(datatype: str, greatest: float) -> None:
    assert values(datatype, [greatest, -greatest]).tolist() == [greatest, -greatest]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([[1, 2], [3]], "not nested like its shape [2, 2]: at depth 1 it has [3] instead of a list of 2"),
        ([[1, 2], 3], "at depth 1 it has 3 instead of a list of 2"),
        ([[1, 2, 3, 4]], "at depth 0 it has [[1, 2, 3, 4]] instead of a list of 2"),
        ([[[1], [2]], [[3], [4]]], "has [1] at element 0"),
        ([1, 2, 3], "has 3 elements in its data; shape [2, 2] takes 4"),
        ([], "has 0 elements in its data; shape [2, 2] takes 4"),
        (7, "is 7; it must be a list"),
        (None, "is None; it must be a list"),
        ({"0": 1}, "is {'0': 1}; it must be a list"),
    ],
)
def test_data_that_does_not_fit_the_shape_is_refused(data: object, sentence: str) -> None:
    with pytest.raises(InvalidInput, match="'x'") as refused:
        values("FP32", data, [2, 2])
    assert sentence in str(refused.value)


def test_the_answer_names_its_model_version_and_request() -> None:
    echoed = answer(("INT8", np.array([[1], [2]], np.int8)), request=decode(id="7"))
    assert echoed == {
        "model_name": "net",
        "model_version": "2",
        "id": "7",
        "outputs": [{"name": "y0", "shape": [2, 1], "datatype": "INT8", "data": [1, 2]}],
    }
    assert "id" not in answer()


@pytest.mark.parametrize("datatype", ["FP16", "BF16", "FP32", "FP64"])
def test_infinities_and_nans_are_null_in_json(datatype: str) -> None:
    array = np.array([math.nan, math.inf, 1.0], np.float32)
    stored = (array.view(np.uint32) >> 16).astype(np.uint16) if datatype == "BF16" else array
    (y,) = answer((datatype, stored.astype(DATATYPES[datatype].numpy)))["outputs"]
    assert y["data"] == [None, None, 1.0]


@pytest.mark.parametrize("key", ["inputs", "outputs"])
def test_a_request_with_thousands_of_tensors_is_refused(key: str) -> None:
    with pytest.raises(InvalidInput, match=f"^The request has 4097 {key}; it must have at most 4096.$"):
        bodies.decode(JSON, json.dumps({"inputs": [], key: [{}] * 4097}).encode())
