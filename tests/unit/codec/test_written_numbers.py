"""Numbers as JSON text: the shortest decimals that are read as the same numbers."""

import json
import struct
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.json_values import write

FLOATS: dict[str, type[np.floating[Any]]] = {"FP32": np.float32, "FP64": np.float64}
# Powers of two, whose neighbours are not equally far, with the numbers around them; the ends of the range.
EDGES = [
    base + step for base in (0, 0x7F800000, *range(0x00800000, 0x7F800000, 0x00800000)) for step in (-1, 0, 1)
]


def text_of(datatype: str, values: Any) -> str:
    array = np.asarray(values, DATATYPES[datatype].numpy)
    return write(datatype, memoryview(array.tobytes())).decode()


def digits_of(text: str) -> str:
    return text.partition("e")[0].replace(".", "").strip("-0")


def check_shortest(datatype: str, bits: list[int]) -> None:
    kind = FLOATS[datatype]
    values = np.array(bits, np.uint32 if datatype == "FP32" else np.uint64).view(kind)
    texts = text_of(datatype, values)[1:-1].split(",")
    for value, text in zip(values, texts, strict=True):
        if np.isfinite(value):
            assert kind(text).tobytes() == value.tobytes()
            assert digits_of(text) == digits_of(np.format_float_scientific(value, unique=True))
            assert json.loads(text) == float(text)
            assert isinstance(json.loads(text), float)
        else:
            assert text == "null"


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1))
def test_a_float_of_32_bits_is_the_shortest_decimal(bits: list[int]) -> None:
    check_shortest("FP32", bits)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_a_float_of_64_bits_is_the_shortest_decimal(bits: list[int]) -> None:
    check_shortest("FP64", bits)


def test_floats_next_to_powers_of_two_are_the_shortest_decimals() -> None:
    check_shortest("FP32", [bits & 0xFFFFFFFF for bits in EDGES])


@given(st.lists(st.decimals(-(10**9), 10**9, places=6, allow_nan=False), min_size=1))
def test_decimals_come_back_as_they_were(decimals: list[Any]) -> None:
    values = [float(decimal) for decimal in decimals]
    assert json.loads(text_of("FP64", values)) == values
    few = [np.float32(value) for value in values]
    assert [np.float32(text) for text in text_of("FP32", few)[1:-1].split(",")] == few


@pytest.mark.parametrize(
    ("value", "single", "double"),
    [
        (0.0, "0.0", "0.0"),
        (-0.0, "-0.0", "-0.0"),
        (1.0, "1.0", "1.0"),
        (-2.5, "-2.5", "-2.5"),
        (0.1, "0.1", "0.1"),
        (100.0, "100.0", "100.0"),
        (16777216.0, "16777216.0", "16777216.0"),
        (123456.789, "123456.79", "123456.789"),
        (1e-5, "0.00001", "0.00001"),
        (1.5e-6, "0.0000015", "1.5e-6"),
        (1e-7, "1e-7", "1e-7"),
        (-2.5e-7, "-2.5e-7", "-2.5e-7"),
        (1e12, "1000000000000.0", "1000000000000.0"),
        (1.5e13, "1.5e+13", "15000000000000.0"),
        (1e15, "1e+15", "1000000000000000.0"),
        (1e16, "1e+16", "1e+16"),
        (1.25e30, "1.25e+30", "1.25e+30"),
        (3.4028234663852886e38, "3.4028235e+38", "3.4028234663852886e+38"),
        (float("inf"), "null", "null"),
        (float("-inf"), "null", "null"),
        (float("nan"), "null", "null"),
    ],
)
def test_a_float_is_written_with_a_point_or_with_an_exponent(value: float, single: str, double: str) -> None:
    assert text_of("FP32", [value]) == f"[{single}]"
    assert text_of("FP64", [value]) == f"[{double}]"


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
def test_integers_bools_and_short_floats_are_written_in_full(datatype: str) -> None:
    known = DATATYPES[datatype]
    if known.integers is not None:
        values = [v for e in range(64) for v in (2**e - 1, 2**e, 10**e, 10**e - 1, -(10**e), -(2**e))]
        held = [v for v in [*known.integers, *values] if known.integers[0] <= v <= known.integers[1]]
        assert json.loads(text_of(datatype, held)) == held
    elif datatype == "BOOL":
        assert write("BOOL", b"\0\1\2\xff") == b"[false,true,true,true]"
    elif datatype == "FP16":
        every = np.arange(2**16, dtype=np.uint16).view(np.float16)
        every = every[np.isfinite(every)]
        assert np.array_equal(np.float16(json.loads(text_of("FP16", every))), every)
    elif datatype == "BF16":
        every = np.arange(2**16, dtype=np.uint16)
        wide = (every.astype(np.uint32) << 16).view(np.float32)
        got = json.loads(text_of("BF16", every))
        finite = np.isfinite(wide)
        assert np.array_equal(np.float32([v for v in got if v is not None]), wide[finite])
        assert [v is None for v in got] == list(~finite)


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "FP16", "INT8", "UINT64", "BOOL"])
@pytest.mark.parametrize("elements", [0, 1, 2, 1000, 150_000])
def test_a_list_of_any_length_is_written_as_orjson_writes_it(datatype: str, elements: int) -> None:
    values = np.random.default_rng(0).integers(0, 2, elements).astype(DATATYPES[datatype].numpy)
    assert text_of(datatype, values).encode() == orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)


def test_data_need_not_be_aligned() -> None:
    data = memoryview(b"\0" + struct.pack("<4d", 1.5, -2, 1e300, 7))[1:]
    assert write("FP64", data) == b"[1.5,-2.0,1e+300,7.0]"
