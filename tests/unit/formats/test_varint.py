"""Whole numbers as protobuf writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtserve.formats import varint


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_a_number_is_read_as_it_was_written(number: int, before: bytes, behind: bytes) -> None:
    written = varint.write(number)
    data = before + written + behind
    assert varint.read(data, len(before)) == (number, len(before) + len(written))


def test_the_lowest_bits_come_first() -> None:
    assert [varint.write(number) for number in (0, 127, 128, 300)] == [
        b"\0",
        b"\x7f",
        b"\x80\x01",
        b"\xac\x02",
    ]


@pytest.mark.parametrize(
    ("data", "most"), [(b"", 10), (b"\x80\x80", 10), (b"\x80\x80\x01", 2), (b"\x80" * 11, 10)]
)
def test_one_that_does_not_end_in_time_is_none(data: bytes, most: int) -> None:
    assert varint.read(data, 0, most) == (-1, 0)
