"""The large parts of the messages of an inference, which protobuf would copy.

A message is fields one after the other, each with a tag (its number and how it is written) before it; those
of a ModelInferRequest and of a ModelInferResponse are written as a length and that many bytes. Where the raw
tensors lie is therefore read off without reading anything else, and where they come behind a written message
they belong to it. Source: protobuf's "Encoding".
"""

import asyncio
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from trtserve import varint
from trtserve.codec.tensor import MOST_DOCUMENT_BYTES, TENSORS
from trtserve.errors import InvalidInput, TooLarge

OTHERS = 1024  # fields of a request that are no tensors: a few, and its parameters
MOST_FIELDS = 3 * TENSORS + OTHERS  # inputs, outputs, raw contents; protobuf makes 80 bytes of two
OF_A_REQUEST = (
    f"a request has at most {TENSORS} each of inputs, outputs and raw_input_contents, and {OTHERS} others"
)
LEAST_INPUT = 1024  # bytes of an input that contents are cut out of; those of a smaller one stay
LEAST_FIELD = 2  # bytes: a tag and a length
LENGTH_BYTES = 5  # of a number, 7 bits in each: a message has less than 2 GiB
LENGTH_DELIMITED = 2
INPUTS = 5 << 3 | LENGTH_DELIMITED
CONTENTS = 5 << 3 | LENGTH_DELIMITED  # in an input
RAW_INPUT_CONTENTS = 7 << 3 | LENGTH_DELIMITED
RAW_OUTPUT_CONTENTS = bytes([6 << 3 | LENGTH_DELIMITED])
HERE_BYTES = 2_097_152  # of a message, that are copied at once on the event loop: a millisecond
INFER_RESPONSE = bytes([2 << 3 | LENGTH_DELIMITED])  # in a ModelStreamInferResponse

Parts = list[bytes | memoryview]
"""A message that is still to be joined."""


class Split(NamedTuple):
    """A ModelInferRequest in parts; the views are on it."""

    rest: bytes  # a ModelInferRequest without the other parts
    raw: list[memoryview]  # its raw_input_contents
    contents: dict[int, list[memoryview]]  # of large inputs, by their numbers: their contents


def split(message: bytes) -> Split:
    """The data of a request, and what is left without it.

    What is faulty comes back whole, for protobuf to refuse. Raises InvalidInput where it could have more
    fields than a request has, and TooLarge where too much is left.
    """
    parts = _Parts(message, "inference.ModelInferRequest", OF_A_REQUEST)
    if not parts.cut():
        parts.check_faulty()
        return Split(message, [], {})
    size = sum(map(len, parts.rest))
    if size > MOST_DOCUMENT_BYTES:
        raise TooLarge(
            f"The request has {size} bytes besides the data of its inputs; this server reads at most "
            f"{MOST_DOCUMENT_BYTES}. Data belongs into raw_input_contents, or into the contents of an input."
        )
    rest = message if size == len(message) else b"".join(parts.rest)
    return Split(rest, parts.raw, parts.contents)


def check_fields(message: bytes, *, with_files: bool) -> None:
    """Raise TooLarge or InvalidInput where a message that has no tensors is larger than any that is meant.

    `with_files`: its fields may be of any length; of short ones, protobuf makes many times their bytes.
    """
    if len(message) <= MOST_DOCUMENT_BYTES:
        return
    if not with_files:
        raise TooLarge(
            f"The message has {len(message)} bytes; one of this method has at most {MOST_DOCUMENT_BYTES}."
        )
    parts = _Parts(message, "message of this method", "each of its parameters is one; send fewer")
    if any(begin < 0 for _, begin, _ in parts.fields()):
        parts.check_faulty()


class _Parts:
    """Cuts a message. Used once."""

    def __init__(self, message: bytes, what: str, fields: str) -> None:
        """`what` the message is to be, and which `fields` that may have, for who has sent another."""
        self._message = message
        self._what = what
        self._allowed = fields
        self._view = memoryview(message)
        self._fields = 0
        self.at = 0  # where a field begins; after a fault, the one that is faulty
        self.rest: list[bytes | memoryview] = []
        self.raw: list[memoryview] = []
        self.contents: dict[int, list[memoryview]] = {}

    def check_faulty(self) -> None:
        """Raise InvalidInput where a faulty message is too long to be left to protobuf, which may take it."""
        size, behind = len(self._message), len(self._message) - self.at
        if size > MOST_DOCUMENT_BYTES or behind > MOST_FIELDS * LEAST_FIELD:
            raise InvalidInput(
                f"The message is no {self._what}: what is at its byte {self.at} is no field of one, or not "
                "whole."
            )

    def fields(self) -> Iterator[tuple[int, int, int]]:
        """Those at the top level, as _fields_of() has them."""
        return self._fields_of(0, len(self._message))

    def cut(self) -> bool:
        """False where the message is faulty at its top level."""
        kept = 0  # where what is to be kept begins
        inputs = 0
        for tag, begin, end in self.fields():
            if begin < 0:
                return False
            if tag == RAW_INPUT_CONTENTS:
                self.rest.append(self._view[kept : self.at])
                self.raw.append(self._view[begin:end])
                kept = end
            elif tag == INPUTS:
                if end - begin >= LEAST_INPUT and (without := self._without_contents(begin, end, inputs)):
                    self.rest += [self._view[kept : self.at], *without]
                    kept = end
                inputs += 1
        self.rest.append(self._view[kept:])
        return True

    def _without_contents(self, begin: int, end: int, number: int) -> list[bytes | memoryview]:
        """Input `number`, which lies there, without its contents; empty where it has none, or is faulty."""
        at = self.at
        kept = begin
        left: list[bytes | memoryview] = []
        contents = []
        for tag, data, data_end in self._fields_of(begin, end):
            if data < 0:
                self.at = at
                return []
            if tag == CONTENTS:
                left.append(self._view[kept : self.at])
                contents.append(self._view[data:data_end])
                kept = data_end
        self.at = at
        if not contents:
            return []
        left.append(self._view[kept:end])
        self.contents[number] = contents
        return [bytes([INPUTS]) + varint.write(sum(map(len, left))), *left]

    def _fields_of(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """The fields that lie there, which are at `at`: their tags, and where their data begins and ends.

        It begins at -1 in one that is faulty, which is the last.
        """
        message = self._message
        at = begin
        while at < end:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise InvalidInput(f"The message has more than {MOST_FIELDS} fields: {self._allowed}.")
            self.at = at
            tag = message[at]
            if tag & 0x87 == LENGTH_DELIMITED:
                size, data = varint.read(message, at + 1, LENGTH_BYTES)
                data_end = data + size if size >= 0 else -1
            else:
                data, data_end = at, _end_of_unknown(message, at)
            if not at < data_end <= end:
                yield tag, -1, -1
                return
            yield tag, data, data_end
            at = data_end


def with_outputs(response: bytes, outputs: Iterable[memoryview]) -> Parts:
    """A ModelInferResponse with these raw_output_contents."""
    parts: Parts = [response]
    for output in outputs:
        parts += [RAW_OUTPUT_CONTENTS + varint.write(len(output)), output]
    return parts


def in_stream(*response: bytes | memoryview) -> Parts:
    """A ModelStreamInferResponse with a response, which comes in parts."""
    return [INFER_RESPONSE + varint.write(sum(map(len, response))), *response]


async def joined(parts: Parts) -> bytes:
    """The message. A large one is joined piece by piece, between which others have the event loop.

    A thread would be of no use: join() keeps the GIL where a part is a view.
    """
    if sum(map(len, parts)) <= HERE_BYTES:
        return b"".join(parts)
    written = io.BytesIO()
    for part in parts:
        for begin in range(0, len(part), HERE_BYTES):
            written.write(memoryview(part)[begin : begin + HERE_BYTES])
            await asyncio.sleep(0)
    return written.getvalue()  # its buffer itself, not a copy


def _end_of_unknown(message: bytes, at: int) -> int:
    """Where a field ends that the protocol has not, and protobuf passes over; -1 where that cannot be told.

    One that it has is written otherwise.
    """
    tag, begin = varint.read(message, at, LENGTH_BYTES)
    match tag & 7 if tag > RAW_INPUT_CONTENTS else None:
        case 0:
            number, end = varint.read(message, begin)
            return end if number >= 0 else -1
        case 1:
            return begin + 8
        case 5:
            return begin + 4
        case 2:
            size, begin = varint.read(message, begin, LENGTH_BYTES)
            return begin + size if size >= 0 else -1
        case _:  # a group, which proto3 has no more, or a fault
            return -1
