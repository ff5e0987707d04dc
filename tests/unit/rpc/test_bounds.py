"""Limits on the memory and work that a gRPC message can cause before it is refused."""

import asyncio

import pytest

from trtserve.codec.tensor import MOST_DOCUMENT_BYTES
from trtserve.errors import InvalidInput, NotFound, TooLarge
from trtserve.failures import tell
from trtserve.rpc import status, wire
from trtserve.rpc.heads import MOST, RequestHeads

INPUT = b"\x2a\x00"  # an empty input, the smallest possible field


def test_heads_with_long_names_are_not_kept() -> None:
    heads = RequestHeads()
    assert heads.of("m", "1") is heads.of("m", "1")
    for name, version in (("m" * 10_000, ""), ("m", "1" * 10_000)):
        head = heads.of(name, version)
        assert (head.ref, head.version) == (name, version or None)
        assert heads.of(name, version) is not head


def test_many_names_do_not_displace_a_head_that_is_in_use() -> None:
    heads = RequestHeads()
    used = heads.of("used", "")
    once = heads.of("once", "")
    for number in range(2 * MOST):
        heads.of(f"other {number}", "")
        assert heads.of("used", "") is used
    assert heads.of("once", "") is not once


def test_a_message_with_too_many_fields_is_refused_before_protobuf_reads_it() -> None:
    field = bytes([wire.RAW_INPUT_CONTENTS, 1]) + b"x"
    assert wire.split(field * wire.MOST_FIELDS) == (b"", [b"x"] * wire.MOST_FIELDS, {})
    for many in (field, INPUT):
        with pytest.raises(InvalidInput, match="more than 13312 fields: a request has at most 4096 each"):
            wire.split(many * (wire.MOST_FIELDS + 1))


@pytest.mark.parametrize(
    "unknown", [b"\x50\xff\x01", b"\x51" + bytes(8), b"\x55" + bytes(4), b"\x98\x06\x01", b"\xda\x02\x01x"]
)
def test_unknown_fields_are_left_to_protobuf_and_counted(unknown: bytes) -> None:
    large = bytes([wire.RAW_INPUT_CONTENTS, 0x80, 0x80, 0x04]) + bytes(65_536)
    parts = wire.split(INPUT + unknown + large + unknown)
    assert parts == (INPUT + unknown * 2, [bytes(65_536)], {})
    with pytest.raises(InvalidInput, match="more than 13312 fields"):
        wire.split(unknown + INPUT * wire.MOST_FIELDS)


@pytest.mark.parametrize("fault", [b"\x53\x54", b"\x50", b"\x2a\xff\xff\xff\xff\x07", b"\xba\x00\x01x"])
def test_a_faulty_message_with_too_many_fields_is_refused(fault: bytes) -> None:
    """The faults: a group, an endless varint, a length beyond the message, a known tag in two bytes."""
    few = INPUT + fault
    assert wire.split(few) == (few, [], {})
    many = INPUT + fault + b"\x80" * 10 + INPUT * wire.MOST_FIELDS
    with pytest.raises(InvalidInput, match=r"at its byte 2 is not a valid field, or not a whole one\."):
        wire.split(many)


@pytest.mark.anyio
async def test_other_tasks_run_while_a_large_message_is_joined() -> None:
    large = bytes(range(256)) * (wire.HERE_BYTES // 64)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    assert (
        await wire.joined([b"head", memoryview(large), b"", memoryview(b"tail")]) == b"head" + large + b"tail"
    )
    assert turns >= 4
    other.cancel()


@pytest.mark.parametrize("character", ["a", "é", "😀"])
def test_a_long_sentence_is_cut_to_what_a_client_accepts(character: str) -> None:
    _, sentence, _ = status.status(tell(NotFound(f"There is no engine {character * 10_000}.")))
    assert sentence.startswith(f"There is no engine {character}")
    assert sentence.endswith(f"{character}…")
    assert len(sentence.encode()) <= status.SENTENCE_BYTES + 3
    assert status.status(tell(NotFound("Short.")))[1] == "Short."


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field: bytes or a message."""
    length = len(data)
    return bytes([number << 3 | 2, length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + data


def test_the_contents_of_a_large_input_are_collected_from_anywhere_in_the_message() -> None:
    name, one, two = field(1, b"x"), bytes(1000), bytes(range(256))
    small = field(5, name + field(5, one[:10]))
    large = field(5, field(5, one) + name + field(5, two))
    parts = wire.split(small + large + large)
    assert parts.rest == small + (b"\x2a" + bytes([len(name)]) + name) * 2
    assert parts.contents == {1: [one, two], 2: [one, two]}
    broken = field(5, name + field(5, one) + b"\x2a\xff\x7f")
    assert wire.split(broken) == (broken, [], {})


def test_a_message_with_a_large_part_besides_data_is_refused_before_protobuf_reads_it() -> None:
    parameter = field(4, field(1, b"p" * 100))
    many = field(5, parameter * 10)
    with pytest.raises(TooLarge, match=r"has \d+ bytes besides the data of its inputs; .* at most 524288"):
        wire.split(many * 600)


def test_a_message_without_tensors_must_be_short_unless_it_has_files() -> None:
    short, long = bytes(MOST_DOCUMENT_BYTES), bytes(MOST_DOCUMENT_BYTES + 1)
    wire.check_fields(short, with_files=False)
    with pytest.raises(TooLarge, match="has 524289 bytes; this method accepts at most 524288"):
        wire.check_fields(long, with_files=False)
    file = b"\x12\x80\x80\x80\x04" + bytes(8_388_608)
    wire.check_fields(file * 2, with_files=True)
    with pytest.raises(InvalidInput, match="13312 fields: each parameter is one; send fewer"):
        wire.check_fields(file + b"\x12\x00" * wire.MOST_FIELDS, with_files=True)


@pytest.mark.parametrize("fault", [b"\x08\x01", b"\x2d" + bytes(4), b"\x53\x54"])
def test_a_faulty_message_is_refused_whatever_its_length(fault: bytes) -> None:
    """Protobuf treats a known field in a wrong encoding as unknown."""
    long = b"\x3a\x80\x80\x40" + bytes(2**20)
    for message in (long + fault, fault + long):
        with pytest.raises(InvalidInput, match="is not a valid field, or not a whole one"):
            wire.split(message)
        with pytest.raises(InvalidInput, match="is not a valid field, or not a whole one"):
            wire.check_fields(message, with_files=True)
