"""Cuts the large parts, which protobuf would copy, out of inference messages, and adds them to answers.

A message is a sequence of fields, each after a tag (its number and its wire type); the fields of a
ModelInferRequest and a ModelInferResponse are a length and that many bytes. So the raw tensors are found
without parsing anything else, and raw tensors appended to a serialized message become part of it. Source:
protobuf's "Encoding".
"""

import asyncio
import io
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from trtserve.codec.tensor import MOST_DOCUMENT_BYTES, TENSORS
from trtserve.errors import InvalidInput, TooLarge
from trtserve.formats import varint

OTHERS = 1024  # fields of a request that are not tensors: a few, and its parameters
MOST_FIELDS = 3 * TENSORS + OTHERS  # inputs, outputs, raw contents; protobuf turns 2 bytes into 80
OF_A_REQUEST = (
    f"a request has at most {TENSORS} each of inputs, outputs and raw_input_contents, and {OTHERS} others"
)
LEAST_INPUT = 1024  # bytes; a shorter input keeps its contents
LEAST_FIELD = 2  # bytes: a tag and a length
LENGTH_BYTES = 5  # the most of a length, at 7 bits a byte: a message is shorter than 2 GiB
LENGTH_DELIMITED = 2
INPUTS = 5 << 3 | LENGTH_DELIMITED
CONTENTS = 5 << 3 | LENGTH_DELIMITED  # in an input
RAW_INPUT_CONTENTS = 7 << 3 | LENGTH_DELIMITED
RAW_OUTPUT_CONTENTS = bytes([6 << 3 | LENGTH_DELIMITED])
HERE_BYTES = 2_097_152  # of a message, copied at once on the event loop: a millisecond
INFER_RESPONSE = bytes([2 << 3 | LENGTH_DELIMITED])  # in a ModelStreamInferResponse

Parts = list[bytes | memoryview]
"""A message in parts, to be joined."""


class Split(NamedTuple):
    """A ModelInferRequest in parts; the views are on the message."""

    rest: bytes  # a ModelInferRequest without the other parts
    raw: list[memoryview]  # its raw_input_contents
    contents: dict[int, list[memoryview]]  # the contents of large inputs, by the inputs' numbers


def split(message: bytes) -> Split:
    """Split a request into its data and the rest.

    A faulty message comes back whole, for protobuf to refuse. Raises InvalidInput if it has, or could have,
    more fields than a request may have, and TooLarge if the rest is too long.
    """
    parts = _Parts(message, "inference.ModelInferRequest", OF_A_REQUEST)
    if not parts.cut():
        parts.check_faulty()
        return Split(message, [], {})
    size = sum(map(len, parts.rest))
    if size > MOST_DOCUMENT_BYTES:
        raise TooLarge(
            f"The request has {size} bytes besides the data of its inputs; this server reads at most "
            f"{MOST_DOCUMENT_BYTES}. Put data into raw_input_contents, or into the contents of an input."
        )
    rest = message if size == len(message) else b"".join(parts.rest)
    return Split(rest, parts.raw, parts.contents)


def check_fields(message: bytes, *, with_files: bool) -> None:
    """Raise TooLarge or InvalidInput if a message without tensors is larger than any sensible one.

    `with_files`: its fields may have any length, but their number is bounded, because protobuf takes many
    times the bytes of short ones.
    """
    if len(message) <= MOST_DOCUMENT_BYTES:
        return
    if not with_files:
        raise TooLarge(
            f"The message has {len(message)} bytes; this method accepts at most {MOST_DOCUMENT_BYTES}."
        )
    parts = _Parts(message, "message of this method", "each parameter is one; send fewer")
    if any(begin < 0 for _, begin, _ in parts.fields()):
        parts.check_faulty()


class _Parts:
    """Cuts one message. Used once."""

    def __init__(self, message: bytes, what: str, fields: str) -> None:
        """`what` the message should be, and the `fields` that it may have: both for error sentences."""
        self._message = message
        self._what = what
        self._allowed = fields
        self._view = memoryview(message)
        self._fields = 0
        self.at = 0  # where the current field begins; after a fault, the faulty field
        self.rest: list[bytes | memoryview] = []
        self.raw: list[memoryview] = []
        self.contents: dict[int, list[memoryview]] = {}

    def check_faulty(self) -> None:
        """Raise InvalidInput if a faulty message is too long to leave to protobuf, which may accept it."""
        size, behind = len(self._message), len(self._message) - self.at
        if size > MOST_DOCUMENT_BYTES or behind > MOST_FIELDS * LEAST_FIELD:
            raise InvalidInput(
                f"The message is not a valid {self._what}: at its byte {self.at} is not a valid field, or "
                "not a whole one."
            )

    def fields(self) -> Iterator[tuple[int, int, int]]:
        """The fields at the top level, as _fields_of() yields them."""
        return self._fields_of(0, len(self._message))

    def cut(self) -> bool:
        """Cut the message; False if it is faulty at its top level."""
        kept = 0  # where the next part to keep begins
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
        """The input from `begin` to `end` without its contents; empty if it has none, or is faulty."""
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
        """The fields from `begin` to `end`: the tag, and where the data begins and ends. Sets `at` to each.

        A faulty field has -1 for both, and is the last.
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
    """A serialized ModelInferResponse with these raw_output_contents added."""
    parts: Parts = [response]
    for output in outputs:
        parts += [RAW_OUTPUT_CONTENTS + varint.write(len(output)), output]
    return parts


def outputs_size(sizes: Iterable[int]) -> int:
    """The bytes that with_outputs() adds for outputs of these sizes."""
    return sum(len(RAW_OUTPUT_CONTENTS) + len(varint.write(size)) + size for size in sizes)


def in_stream(*response: bytes | memoryview) -> Parts:
    """A ModelStreamInferResponse that holds a serialized response, given in parts."""
    return [INFER_RESPONSE + varint.write(sum(map(len, response))), *response]


async def joined(parts: Parts) -> bytes:
    """The joined message. A large one is joined piece by piece, and other tasks run between the pieces.

    A thread would not help: join() keeps the GIL if a part is a view.
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
    """Where a field that the protocol does not define, and protobuf skips, ends; -1 if it is faulty.

    A field that the protocol defines has another wire type, and counts as faulty.
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
        case _:  # a group, which proto3 no longer has, or a fault
            return -1
