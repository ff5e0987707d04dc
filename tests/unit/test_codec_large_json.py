"""The fast way of reading JSON tensors never takes what the strict way would not take, nor otherwise."""

import json
from typing import Any

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.codec import large_json, protocol
from service.codec.large_json import LEAST_BYTES
from service.errors import InvalidInput
from tests import bodies

JSON = {"content-type": "application/json"}
NUMBERS = st.integers(-300, 300) | st.floats(allow_nan=False, allow_infinity=False)
ELEMENTS = NUMBERS | st.booleans() | st.none() | st.text(max_size=3) | st.lists(NUMBERS, max_size=2)
DATATYPES = st.sampled_from(
    ["BOOL", "INT8", "UINT8", "INT64", "UINT16", "UINT64", "FP16", "BF16", "FP32", "FP64"]
)
DATA = (
    ELEMENTS
    | st.lists(NUMBERS, max_size=6)
    | st.lists(ELEMENTS, max_size=6)
    | st.lists(st.lists(ELEMENTS, max_size=3), max_size=3)
    | st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=3)
)
SHAPES = st.lists(st.integers(0, 3), max_size=3)


def of(datatype: str, shape: list[int], data: Any, name: str = "x") -> bytes:
    return json.dumps(
        {"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]}
    ).encode()


def strictly(document: bytes) -> np.ndarray[Any, Any] | None:
    """What the strict way makes of the one tensor; None where it refuses it."""
    assert len(document) < LEAST_BYTES
    try:
        (data,) = protocol.describe(document).data
    except InvalidInput:
        return None
    assert isinstance(data, np.ndarray)
    return data


@given(DATATYPES, SHAPES, DATA, st.sampled_from(["x", "x[", "[1]"]))
def test_what_it_takes_the_strict_way_takes_with_the_same_values(
    datatype: str, shape: list[int], data: Any, name: str
) -> None:
    document = of(datatype, shape, data, name)
    fast = large_json.parse(document)
    if fast is not None:
        array, strict = fast["inputs"][0]["data"], strictly(document)
        assert strict is not None
        assert (array.dtype, array.tobytes()) == (strict.dtype, strict.tobytes())


@pytest.mark.parametrize("data", ["x", 1, None, True, {"a": [1]}])
def test_data_that_is_no_list_is_left_to_the_strict_way(data: object) -> None:
    document = of("FP32", [1], data)
    assert large_json.parse(document) is None
    with pytest.raises(InvalidInput, match="it must be a list"):
        bodies.decode(JSON, document.ljust(LEAST_BYTES))


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", [3], [1, 2.5, -3]),
        ("FP16", [2, 2], [[1, 2], [3, 4]]),
        ("INT8", [2, 1, 2], [[[1, 2]], [[3, -128]]]),
        ("INT64", [2, 2], [1, 2, 3, 2**63 - 1]),
        ("INT64", [2.0, 2.0], [[1.0, 2.0], [3, -(2**52)]]),
        ("UINT8", [3], [0.0, -0.0, 255.0]),
    ],
)
def test_it_takes_what_is_plain(datatype: str, shape: list[int], data: Any) -> None:
    document = of(datatype, shape, data)
    fast, strict = large_json.parse(document), strictly(document)
    assert fast is not None
    assert strict is not None
    assert fast["inputs"][0]["data"].tobytes() == strict.tobytes()


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([3], [1, 2, [3]]),
        ([3], [[1], 2, 3]),
        ([2, 2], [[1, 2, 3], [4]]),
        ([2, 2], [1, 2, [3], 4]),
        ([2], [1, True]),
        ([2], [1, None]),
        ([2], [1, 1e39]),
        ([2], [1, 2, 3]),
    ],
)
def test_it_leaves_the_rest_to_the_strict_way(shape: list[int], data: Any) -> None:
    assert large_json.parse(of("FP32", shape, data)) is None


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("INT32", [1, 2.5]),
        ("UINT64", [1.0, -1.0]),
        ("UINT8", [256.0]),
        ("INT64", [1e300]),
        ("INT64", [2.0**53]),
    ],
)
def test_it_leaves_floats_that_may_not_be_whole_to_the_strict_way(datatype: str, data: list[Any]) -> None:
    assert large_json.parse(of(datatype, [len(data)], data)) is None


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[1]",
        b'{"inputs": [1]}',
        b'{"inputs": [{"data": [1]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1], "data": [2]}]}',
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": "no", "data": [1]}]}',
    ],
)
def test_what_is_no_request_is_left_to_the_strict_way(document: bytes) -> None:
    assert large_json.parse(document) is None


@pytest.mark.parametrize("unread", [[0.5], {"a": 1}, 1, "x", None])
@pytest.mark.parametrize("of_input", [False, True])
def test_lists_and_objects_that_nobody_reads_are_left_to_the_strict_way(
    unread: object, of_input: bool
) -> None:
    tensor: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
    tensor |= {"more": unread} if of_input else {}
    document = {"inputs": [tensor]} | ({} if of_input else {"more": unread})
    taken = large_json.parse(json.dumps(document).encode())
    assert (taken is None) == isinstance(unread, (list, dict))


def test_a_large_body_is_decoded_and_its_faults_are_told_as_those_of_a_small_one() -> None:
    data: list[Any] = [0.5] * LEAST_BYTES
    ((_, _, shape, array),) = bodies.decode(JSON, of("FP32", [LEAST_BYTES], data)).inputs
    assert isinstance(array, np.ndarray)
    assert (shape, array.tolist()) == ([LEAST_BYTES], data)
    ((_, _, shape, array),) = bodies.decode(JSON, of("INT8", [LEAST_BYTES], [1.0] * LEAST_BYTES)).inputs
    assert isinstance(array, np.ndarray)
    assert array.tolist() == [1] * LEAST_BYTES
    data[7] = True
    with pytest.raises(InvalidInput, match="'x' has true at element 7 of its data; FP32 takes numbers"):
        bodies.decode(JSON, of("FP32", [LEAST_BYTES], data))


def test_the_memory_that_a_very_large_body_took_is_not_kept() -> None:
    elements = 4 * 1024**2
    document = of("FP32", [elements], [0.5] * elements)
    process = psutil.Process()
    before = process.memory_info().rss
    assert large_json.parse(document) is not None
    assert process.memory_info().rss - before < 3 * len(document)


@pytest.mark.parametrize(
    "more",
    [
        {f"key {number}": number for number in range(large_json.MOST_KEYS + 1)},
        {"inputs": [{f"key {number}": number for number in range(large_json.MOST_KEYS)}]},
        {"inputs": [{"shape": [1] * 65, "data": [1]}]},
        {"inputs": [{"data": [1]}] * (large_json.TENSORS + 1)},
    ],
)
def test_what_would_take_it_more_than_linear_time_is_left_to_the_strict_way(more: dict[str, Any]) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
    document = more | {"inputs": [tensor | each for each in more.get("inputs", [tensor])]}
    assert large_json.parse(json.dumps(document).encode()) is None
