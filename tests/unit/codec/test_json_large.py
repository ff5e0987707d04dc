"""Large and small JSON are read alike: both readers accept the same values and refuse the same documents."""

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import runtime_ext
from tests import bodies
from trtserve.codec import json_large
from trtserve.codec.json_large import LEAST_BYTES, LEAST_LIST, NumberList
from trtserve.errors import InvalidInput, TooLarge

JSON = {"content-type": "application/json"}
NUMBERS = (
    st.integers(-300, 300)
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-300, 300).map(float)
)
ELEMENTS = NUMBERS | st.booleans() | st.none() | st.text(max_size=3) | st.lists(NUMBERS, max_size=2)
DATATYPES = st.sampled_from(
    ["BOOL", "INT8", "UINT8", "INT64", "UINT16", "UINT64", "FP16", "BF16", "FP32", "FP64"]
)
DATA = (
    ELEMENTS
    | st.lists(NUMBERS, max_size=6)
    | st.lists(st.booleans() | st.integers(0, 1), max_size=6)
    | st.lists(ELEMENTS, max_size=6)
    | st.lists(st.lists(ELEMENTS, max_size=3), max_size=3)
    | st.lists(st.lists(NUMBERS, min_size=2, max_size=2), min_size=1, max_size=3)
    | st.recursive(st.integers(0, 1), lambda inner: st.lists(inner, max_size=2), max_leaves=6)
)
SHAPES = st.lists(st.integers(0, 3), max_size=3)


def of(datatype: str, shape: list[int], data: Any, name: str = "x") -> bytes:
    tensor = {"name": name, "datatype": datatype, "shape": shape, "data": data}
    return json.dumps({"inputs": [tensor]}).encode()


def written(data: str, datatype: str = "FP64", shape: str = "[1]") -> bytes:
    """A request with this text as its data."""
    return f'{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}]}}'.encode()


@contextmanager
def as_large(least: int = 0) -> Iterator[None]:
    json_large.LEAST_BYTES = json_large.LEAST_LIST = least
    try:
        yield
    finally:
        json_large.LEAST_BYTES, json_large.LEAST_LIST = LEAST_BYTES, LEAST_LIST


def decoded(document: bytes) -> tuple[object, ...] | None:
    """The numpy datatype and the bytes of the only input; None if it is refused."""
    try:
        ((*_, data),) = bodies.decode(JSON, document).inputs
    except InvalidInput:
        return None
    return (data.dtype, data.tobytes()) if isinstance(data, np.ndarray) else (data,)


def both(document: bytes) -> tuple[object, ...] | None:
    """The result of the small reader and of the large one."""
    small = decoded(document)
    with as_large():
        assert decoded(document) == small
    return small


def refusal(document: bytes) -> str:
    with as_large(), pytest.raises(InvalidInput) as refused:
        bodies.decode(JSON, document)
    return str(refused.value)


@given(DATATYPES, SHAPES, DATA, st.sampled_from(["x", "x[", "[1]", '"data": [1]', '\\"data":[1', "}"]))
def test_both_readers_accept_the_same_values(datatype: str, shape: list[int], data: Any, name: str) -> None:
    both(of(datatype, shape, data, name))


@given(
    st.sampled_from(["FP32", "FP64"]), st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1)
)
def test_a_decimal_is_read_as_the_nearest_float(datatype: str, values: list[float]) -> None:
    texts = [form.format(value) for value in values for form in ("{!r}", "{:.3e}", "{:.25E}", "{:.0f}.5e-3")]
    got = both(written(f"[{', '.join(texts)}]", datatype, f"[{len(texts)}]"))
    expected = [float(text) for text in texts]
    with np.errstate(over="ignore"):
        array = np.array(expected, np.float64).astype(np.float32 if datatype == "FP32" else np.float64)
    assert got == ((array.dtype, array.tobytes()) if np.isfinite(array).all() else None)


@given(
    st.floats(0.125, 2**20, width=32),
    st.integers(-12, 12),
    st.integers(16, 19),
    st.sampled_from(["FP32", "FP64"]),
)
def test_a_decimal_near_the_middle_of_two_floats_is_rounded_from_the_nearest_double(
    below: float, quarters: int, digits: int, datatype: str
) -> None:
    """`quarters` of a double's last place from the middle, in so many digits."""
    above = float(np.nextafter(np.float32(below), np.float32(np.inf)))
    middle = (below + above) / 2
    near = Decimal(middle) + Decimal(float(np.spacing(middle))) * quarters / 4
    text = f"{near:.{digits - 1 - near.adjusted()}f}"
    texts = [sign + text for sign in ("", "-")] * 20  # the last numbers of a list are read otherwise
    array = np.array([float(text) for text in texts]).astype(np.float32 if datatype == "FP32" else np.float64)
    assert both(written(f"[{','.join(texts)}]", datatype, "[40]")) == (array.dtype, array.tobytes())


@pytest.mark.parametrize(
    "text",
    [
        "1.",
        "1.e5",
        "01.5",
        "-01.5",
        "00.5",
        ".5",
        "-.5",
        "1.5.5",
        "1.2345678.",
        "1.5e",
        "1.5-",
        "1.+5",
        "1.5x",
    ],
)
def test_a_malformed_number_before_others_is_refused(text: str) -> None:
    """A number at the end of a list is read otherwise than one with many characters behind it."""
    assert both(written(f"[{text}{', 1.5' * 20}]", "FP32", "[21]")) is None


@pytest.mark.parametrize("digits", range(1, 24))
def test_a_number_of_any_length_is_read_before_others(digits: int) -> None:
    text = "1234567890123456789012345"
    texts = [f"{text[:whole]}.{text[whole:digits] or '0'}" for whole in range(1, digits + 1)]
    texts += ["0." + "0" * zeros + text[:digits] for zeros in range(20)]
    texts += [f"{number}e{power}" for number in texts for power in (-3, 2)] + ["1.5"] * 20
    array = np.array([float(text) for text in texts])
    assert both(written(f"[{','.join(texts)}]", "FP64", f"[{len(texts)}]")) == (array.dtype, array.tobytes())
    array = array.astype(np.float32)
    assert both(written(f"[{','.join(texts)}]", "FP32", f"[{len(texts)}]")) == (array.dtype, array.tobytes())


@pytest.mark.parametrize(
    "number",
    [
        *("0", "-0", "1e5", "1E+2", "1e-2", "0.1e-400", "5e-324", "2.5e-324", "1e-99999999999999999999"),
        *("0." + "0" * 400 + "1", "1" + "0" * 300, "1" * 400 + "e-300", "0e999", "9007199254740993"),
        *("0.1234567890123456789012345", "12345678.12345678", "123456789012345678901234567890e-20"),
    ],
)
def test_every_notation_of_a_number_is_read(number: str) -> None:
    assert both(written(f"[{number}]")) == (
        np.dtype("<f8"),
        struct.pack("<d", float(number) if number != "-0" else 0.0),
    )


@pytest.mark.parametrize(
    "data",
    [
        *("[01]", "[1.]", "[.5]", "[+1]", "[1e]", "[1e+]", "[--1]", "[-]", "[NaN]", "[Infinity]", "[0x1]"),
        *(
            "[1 2]",
            "[1,]",
            "[,1]",
            "[,]",
            "[1",
            "[1]]",
            "[[1]",
            "[truE]",
            "[fals]",
            "[1]1",
            "[1][1]",
            "[1;2]",
        ),
        *("[1,[2,]]", "[1,[2 3]]", "[1,[", "[1,[]", "[1\u00a0]", "[1]\x00", "[-01]", "[1.5.5]", "[1e5.5]"),
    ],
)
def test_malformed_json_is_refused_as_such(data: str) -> None:
    document = written(data)
    assert both(document) is None
    assert refusal(document).startswith("The body is not JSON")


def test_an_error_gives_its_byte_position_in_the_body() -> None:
    document = written("[1, 2, 3 4]", shape="[4]")
    at = document.index(b"4]}")
    assert f"'4' at byte {at}" in refusal(document)


@pytest.mark.parametrize(
    ("datatype", "numbers", "taken"),
    [
        ("UINT64", "18446744073709551615", True),
        ("UINT64", "18446744073709551616", False),
        ("UINT64", "-1", False),
        ("UINT64", "-0", True),
        ("INT64", "-9223372036854775808", True),
        ("INT64", "-9223372036854775809", False),
        ("INT64", "9223372036854775808", False),
        ("INT8", "-128", True),
        ("INT8", "128", False),
        ("INT8", "1.5", False),
        ("INT8", "1.0", True),
        ("INT64", "9007199254740992.0", True),
        ("INT64", "9007199254740994.0", False),
        ("UINT64", "1e300", False),
        ("BOOL", "1.0", False),
        ("INT8", "true", False),
        ("BOOL", "true", True),
        ("BOOL", "1", True),
        ("BOOL", "2", False),
        ("BOOL", "-1", False),
        ("FP16", "65504", True),
        ("FP16", "65520", False),
        ("BF16", "3.4e38", False),
        ("FP32", "3.5e38", False),
        ("FP64", "1e309", False),
        ("FP64", "null", False),
    ],
)
def test_only_numbers_that_fit_the_datatype_are_accepted(datatype: str, numbers: str, taken: bool) -> None:
    assert (both(written(f"[{numbers}]", datatype)) is not None) == taken


@pytest.mark.parametrize(
    ("shape", "data", "sentence"),
    [
        ([3], [1, 2, [3]], "not nested like its shape [3]: look at depth 0, byte"),
        ([2, 2], [[1, 2, 3], [4]], "not nested like its shape [2, 2]: look at depth 1, byte"),
        ([2, 2], [1, 2, [3], 4], "not nested like"),
        ([2, 2], [[[1, 2]], [3, 4]], "not nested like"),
        ([2], [1, 2, 3], "'x' has 3 elements in its data; shape [2] takes 2."),
        ([10**12], [1, 2, 3], "'x' has 3 elements in its data; shape [1000000000000] takes"),
        ([2**62, 8], [], "'x' has 0 elements"),
        ([2], [1, 1e39], "'x' has 1e+39 at element 1 of its data; FP32 takes numbers up to 3.4028235e+38."),
        ([3], [1, True, False], "'x' has true at element 1 of its data; FP32 takes numbers"),
    ],
)
def test_errors_are_described_in_plain_words(shape: list[int], data: Any, sentence: str) -> None:
    assert sentence in refusal(of("FP32", shape, data))


def test_lists_nested_too_deep_are_refused() -> None:
    deep = 3_000_000
    assert "not nested like" in refusal(written("[" * deep + "]" * deep))
    with pytest.raises(TooLarge):
        json_large.parse(written("[" * deep))


DOCUMENTS = st.recursive(
    st.integers(-9, 9) | st.sampled_from(["data", '"data":[1]', "\\", '\\"data": [', "x", "", "}", "{", "]"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["data", "inputs", 'a"data', "data\\", '"data":[', "x"]), inner)
        | st.lists(st.integers(0, 9), max_size=3).map(lambda data: {"data": data})
    ),
    max_leaves=20,
)


@example({"data": [[], "data"]}, None, (",", ":"))
@given(DOCUMENTS, st.sampled_from([None, 1]), st.sampled_from([(",", ":"), (" , ", "\t:\r\n")]))
def test_cutting_lists_out_changes_no_document(
    value: Any, indent: int | None, separators: tuple[str, str]
) -> None:
    document = json.dumps({"inputs": [{"data": [1]}, value]}, indent=indent, separators=separators).encode()

    def whole(read: Any) -> Any:
        match read:
            case NumberList():
                return orjson.loads(bytes(read._text))
            case dict():
                return {key: whole(inner) for key, inner in read.items()}
            case list():
                return [whole(inner) for inner in read]
        return read

    with as_large():
        root = json_large.parse(document)
    assert isinstance(root["inputs"][0]["data"], NumberList)
    assert whole(root["inputs"][0]) == {"data": [1]}
    second = root["inputs"][1]
    if isinstance(second, dict) and isinstance(second.get("data"), NumberList):
        assert whole(second["data"]) == value["data"]


@pytest.mark.parametrize(
    "place", ['"outputs":[{"data":%s}]', '"inputs":[{"data":%s,"data":[1]}]', '"x":{"data":%s}']
)
def test_unused_lists_must_be_valid_json_too(place: str) -> None:
    with as_large():
        json_large.parse(f"{{{place % '[[1],2,true]'}}}".encode())
        with pytest.raises(InvalidInput, match="not JSON"):
            json_large.parse(f"{{{place % '[1,,2]'}}}".encode())


def test_keys_without_lists_are_scanned_in_linear_time() -> None:
    """Each key is scanned once, however many there are and wherever the next brace is."""
    for many in (b'"data":[' * 1_000_000, b'"data":' * 1_000_000, b'"data"' * 1_000_000):
        with pytest.raises(TooLarge, match=r"besides the numbers of its inputs; this server reads at most"):
            json_large.parse(many)


@pytest.mark.parametrize("data", ["x", 1, {"a": [1]}])
def test_data_other_than_a_list_is_refused_as_in_a_small_body(data: object) -> None:
    with pytest.raises(InvalidInput, match="it must be a list"):
        bodies.decode(JSON, of("FP32", [1], data).ljust(LEAST_BYTES))


def test_a_large_body_is_decoded_or_refused_as_a_small_one() -> None:
    data: list[Any] = [0.5] * LEAST_BYTES
    ((_, _, shape, array),) = bodies.decode(JSON, of("FP32", [LEAST_BYTES], data)).inputs
    assert isinstance(array, np.ndarray)
    assert (shape, array.tolist()) == ([LEAST_BYTES], data)
    data[7] = True
    with pytest.raises(InvalidInput, match="'x' has true at element 7 of its data; FP32 takes numbers"):
        bodies.decode(JSON, of("FP32", [LEAST_BYTES], data))


MEASURE = """
import resource, sys
from tests import bodies
from trtserve.errors import TrtserveError
begin, piece, end = (part.encode() for part in sys.argv[1:4])
document = begin + piece * (24_000_000 // len(piece)) + end
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    bodies.decode({"content-type": "application/json"}, document)
except TrtserveError as refused:
    print(refused, file=sys.stderr)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / len(document))
"""


@pytest.mark.parametrize(
    ("begin", "piece", "end"),
    [
        ('{"inputs":[', "{},", "{}]}"),
        ('{"inputs":[{"name":"x","datatype":"FP32","shape":[12000001],"data":[', "1,", "1]}]}"),
        ('{"inputs":[{"name":"x","datatype":"FP32","shape":[9],"data":[', "[1],", "[1]]}]}"),
        ('{"inputs":[{"name":"x","datatype":"FP32","shape":[9],"data":[', "[", "]}]}"),
        ('{"inputs":[{"name":"x","datatype":"BYTES","shape":[9],"data":[', '"",', '""]}]}'),
        ('{"inputs":[{"name":"x","datatype":"FP32","shape":[9],"data":[', "{},", "{}]}]}"),
        ('{"inputs":[],"parameters":{"x":[', "1,", "1]}}"),
        ('{"inputs":[],"id":"', "x", '"}'),
        ('{"inputs":[],"p":{', '"data":[],', '"data":[]}}'),
        ('{"inputs":[],"p":{', '"data":[' + "1," * 200 + "1],", '"data":[]}}'),
    ],
)
def test_decoding_takes_at_most_three_times_the_bytes_of_a_body(begin: str, piece: str, end: str) -> None:
    command = [sys.executable, "-c", MEASURE, begin, piece, end]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(ended.stdout) < 2, ended.stderr  # besides the body itself


def test_a_buffer_that_is_not_contiguous_is_refused() -> None:
    numbers = np.arange(9, dtype=np.float32)
    with pytest.raises(runtime_ext.Error, match="not C-contiguous"):
        runtime_ext.read_number_list(b"[1,2,3,4]", [4], "FP32", numbers[3::-1])
    with pytest.raises(runtime_ext.Error, match="not C-contiguous"):
        runtime_ext.read_number_list(memoryview(b"[1,2,3,4]")[::2], [4], "FP32", numbers)
    assert numbers.tolist() == list(range(9))
