"""Typed contents are read as protobuf reads them, and elements that do not fit are refused."""

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtserve.codec.datatypes import DATATYPES
from trtserve.errors import InvalidInput
from trtserve.rpc.contents import NAMES, Contents

FIELDS = {name: known.contents for name, known in DATATYPES.items() if known.contents is not None}
VARINTS = [datatype for datatype in FIELDS if not datatype.startswith("FP")]


def varint(number: int) -> bytes:
    number %= 2**64
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def packed(datatype: str, payload: bytes) -> bytes:
    return bytes([FIELDS[datatype] << 3 | 2]) + varint(len(payload)) + payload


def read(datatype: str, shape: list[int], *parts: bytes) -> list[object]:
    array = Contents(parts).read("x", datatype, shape)
    assert array.dtype == DATATYPES[datatype].numpy
    values: list[object] = array.tolist()
    return values


def refusal(datatype: str, shape: list[int], *parts: bytes) -> str:
    with pytest.raises(InvalidInput) as refused:
        read(datatype, shape, *parts)
    return str(refused.value)


@given(st.sampled_from(VARINTS), st.data())
def test_integers_are_read_packed_and_one_by_one(datatype: str, data: st.DataObject) -> None:
    least, greatest = DATATYPES[datatype].integers or (0, 1)
    values = data.draw(st.lists(st.integers(least, greatest), max_size=9))
    payload = b"".join(map(varint, values))
    tag = bytes([FIELDS[datatype] << 3])
    one_by_one = b"".join(tag + varint(value) for value in values)
    for parts in ([packed(datatype, payload)], [one_by_one], [one_by_one[:0], packed(datatype, payload)]):
        assert read(datatype, [len(values)], *parts) == values
    assert read(datatype, [2 * len(values)], one_by_one, packed(datatype, payload)) == values * 2


@given(st.sampled_from(["FP32", "FP64"]), st.lists(st.floats(width=32), max_size=9))
def test_floats_are_read_bit_for_bit(datatype: str, values: list[float]) -> None:
    form, kind = ("<f", 5) if datatype == "FP32" else ("<d", 1)
    elements = [struct.pack(form, value) for value in values]
    one_by_one = b"".join(bytes([FIELDS[datatype] << 3 | kind]) + element for element in elements)
    for message in (packed(datatype, b"".join(elements)), one_by_one):
        array = Contents([message]).read("x", datatype, [len(values)])
        assert array.tobytes() == b"".join(elements)


@pytest.mark.parametrize(
    ("datatype", "values", "element"),
    [
        ("INT8", [0, 128], 128),
        ("INT8", [-129], -129),
        ("INT16", [2**15], 2**15),
        ("INT32", [-(2**31) - 1], -(2**31) - 1),
        ("UINT8", [256], 256),
        ("UINT16", [0, 65536, 0], 65536),
        ("UINT32", [2**64 - 1], 2**64 - 1),
    ],
)
def test_an_element_outside_the_datatype_is_refused(datatype: str, values: list[int], element: int) -> None:
    sentence = refusal(datatype, [len(values)], packed(datatype, b"".join(map(varint, values))))
    least, greatest = DATATYPES[datatype].integers or (0, 0)
    assert sentence == f"Tensor 'x' has the element {element}; {datatype} takes {least} to {greatest}."


@pytest.mark.parametrize(
    "message",
    [
        *(b"\x32", b"\x32\x05\0\0\0\0", b"\x35\0\0\0", b"\x32\x03\0\0\0", b"\x31" + bytes(8), b"\x33\x34"),
        *(b"\x00\x00", b"\x32" + b"\x80" * 11, b"\x7a\x00", b"\x32\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    ],
)
def test_a_malformed_contents_message_is_refused(message: bytes) -> None:
    sentence = refusal("FP32", [1], message)
    assert sentence == "The contents of tensor 'x' are not an inference.InferTensorContents."


@pytest.mark.parametrize("field", NAMES)
def test_data_in_the_field_of_another_datatype_is_refused(field: int) -> None:
    for datatype, own in FIELDS.items():
        if own != field:
            sentence = refusal(datatype, [1], bytes([field << 3 | 2, 1]) + b"\x01")
            assert sentence == (
                f"Tensor 'x' has its data in {NAMES[field]}; data of datatype {datatype} "
                f"belongs in {NAMES[own]}."
            )


@pytest.mark.parametrize("shape", [[1], [3], [10**15], [2**40, 2**40]])
def test_contents_of_another_size_than_the_shape_are_refused_without_allocating(shape: list[int]) -> None:
    assert "'x' has 2 elements in its data; shape" in refusal("FP64", shape, packed("FP64", bytes(16)))


def test_half_floats_have_no_typed_contents() -> None:
    assert "FP16, for which contents have no field" in refusal("FP16", [1], b"")


def strings(*elements: bytes) -> bytes:
    return b"".join(b"\x42" + varint(len(element)) + element for element in elements)


def read_strings(shape: list[int], *parts: bytes) -> bytes:
    data = Contents(parts).read("x", "BYTES", shape)
    assert isinstance(data, memoryview)
    return bytes(data)


@given(st.lists(st.binary(max_size=300), max_size=6))
def test_strings_are_read_into_the_binary_form(elements: list[bytes]) -> None:
    written = b"".join(struct.pack("<I", len(element)) + element for element in elements)
    assert read_strings([len(elements)], strings(*elements)) == written
    assert read_strings([2, len(elements)], *[strings(*elements)] * 2) == written * 2


@given(st.binary(max_size=40), st.integers(0, 3))
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(message: bytes, elements: int) -> None:
    try:
        found = read_strings([elements], message)
    except InvalidInput:
        return
    assert len(found) <= len(message) + 4 * elements


@pytest.mark.parametrize(
    ("shape", "message", "sentence"),
    [
        ([1], strings(b"a", b"b"), "has 2 elements in its data; shape [1] takes 1."),
        ([3], strings(b"a", b"b"), "has 2 elements in its data; shape [3] takes 3."),
        ([0], strings(b""), "has 1 elements in its data; shape [0] takes 0."),
        ([2**62, 8], strings(b""), "has 1 elements in its data;"),
        ([1], strings(b"") * 1000, "has 1000 elements in its data; shape [1] takes 1."),
        ([2], strings(b"ab")[:-1], "are not an inference.InferTensorContents."),
        ([1], b"\x42" + b"\xff" * 9 + b"\x01", "are not an inference.InferTensorContents."),
        ([1], b"\x40\x01", "are not an inference.InferTensorContents."),
        ([1], b"\x45abcd", "are not an inference.InferTensorContents."),
        ([1], b"\x43\x44", "are not an inference.InferTensorContents."),
        ([2], strings(b"a") + b"\x0a\x01\x01", "has its data in bool_contents; data of datatype BYTES"),
    ],
)
def test_strings_other_than_the_shape_takes_are_refused(
    shape: list[int], message: bytes, sentence: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_strings(shape, message)
    assert sentence in str(refused.value)


def test_reading_strings_takes_no_more_than_is_counted() -> None:
    message = strings(b"") * 100_000
    assert Contents([message]).read_bytes("BYTES", [1]) == len(message) + 4
    tracemalloc.start()
    try:
        with pytest.raises(InvalidInput):
            read_strings([1], message)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(message)
    finally:
        tracemalloc.stop()
