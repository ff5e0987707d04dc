"""Joins an ONNX model and the files that hold its tensors into one ONNX file.

Only what has to change is written anew: a tensor whose data_location is EXTERNAL gets the bytes that its
external_data tells of as its raw_data, and the messages around it other lengths. Source: onnx.proto. The
model is not trusted: what it refers to is looked up among the files of its archive, and the depth is bounded.
The backend checks the joined file like any other.
"""

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from trtserve.errors import InvalidInput, TooLarge
from trtserve.formats import varint
from trtserve.text import first_of, shown

MOST_BYTES = 2**31 - 1  # of a message of protobuf
DEPTH = 128  # of messages in messages
MOST_FIELDS = 2**21  # that are looked at; a field of two bytes costs microseconds and may cost 200 bytes
LONGEST_TEXT = 4096  # bytes of a name or a place; archives have no longer names

HOLDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
}
"""By message, the fields that are or hold tensors, and which message each has."""

NAME, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 8, 9, 13, 14  # of TensorProto
EXTERNAL = 1
DELIMITED = 2  # the wire type of bytes and messages
SHOWN_FILES = 8

Places = Mapping[str, tuple[int, int]]
"""By their names, where the files begin in the bytes of all, and how many they have."""


Told = Mapping[str, str]
"""A tensor's external_data: its location, offset and length."""

DataOf = Callable[[str, Told], memoryview]
"""The bytes of a tensor, by its name and what the model tells of them."""


class Field(NamedTuple):
    number: int
    wire: int
    tag: int  # where it begins
    begin: int  # of its data
    end: int


@dataclass(frozen=True)
class DataFiles:
    """The files beside a model, in the bytes of all files."""

    unpacked: memoryview
    places: Places
    model: str  # its name among them
    where: str = "the archive"  # what has the files, for people

    def __call__(self, name: str, told: Told) -> memoryview:
        """See DataOf. Raises InvalidInput."""
        file = file_of(self.model, told)
        if file not in self.places:
            there = first_of([shown(known) for known in self.places], SHOWN_FILES)
            raise InvalidInput(
                f"The model's tensor {shown(name)} is in the file {shown(told.get('location', ''))}, which "
                f"{self.where} does not have beside the model; it has {there}."
            )
        first, size = self.places[file]
        offset = _number(name, "offset", told.get("offset", "0"))
        length = _number(name, "length", told.get("length", str(max(0, size - offset))))
        if offset + length > size:
            raise InvalidInput(
                f"The model's tensor {shown(name)} is in bytes {offset} to {offset + length} of "
                f"{shown(file)}, which has {size}: it is not whole, or belongs to another model."
            )
        return self.unpacked[first + offset : first + offset + length]


def file_of(model: str, told: Told) -> str:
    """The name of the file that has a tensor's data, where the model has this name."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(model), told.get("location", "")))


class Joined:
    """The parts of a model with its data, as pieces of `unpacked`, the bytes of all files, and new ones."""

    def __init__(self, unpacked: memoryview, model: tuple[int, int], data: DataOf) -> None:
        """`model` is where it begins in `unpacked`, and its bytes. Raises InvalidInput and TooLarge."""
        self._all = unpacked
        self._left = MOST_FIELDS  # fields that may still be looked at
        self._data = data
        begin, size = model
        self.parts: list[bytes | memoryview] = self._rewritten("model", begin, begin + size, 0) or [
            unpacked[begin : begin + size]
        ]
        self.size = _length(self.parts)
        if self.size > MOST_BYTES:
            raise InvalidInput(
                f"The model and its data have {self.size} bytes together; an ONNX file has at most "
                f"{MOST_BYTES}, and this server keeps a model in one. Store its weights in FP16 or INT8, or "
                "build a TensorRT plan from it (`trtserve build`) and upload that."
            )

    def _rewritten(self, kind: str, begin: int, end: int, depth: int) -> list[bytes | memoryview] | None:
        """The parts of a message; None if nothing in it changes."""
        if depth > DEPTH:
            raise InvalidInput(f"The model is nested more than {DEPTH} messages deep.")
        if kind == "tensor":
            return self._with_data(begin, end)
        parts: list[bytes | memoryview] = []
        kept = begin  # from here on, nothing has been put into parts
        for field in self._fields(begin, end):
            inner = HOLDS[kind].get(field.number) if field.wire == DELIMITED else None
            if inner is None:
                continue
            changed = self._rewritten(inner, field.begin, field.end, depth + 1)
            if changed is not None:
                parts += [self._all[kept : field.tag], _tag(field.number), varint.write(_length(changed))]
                parts += changed
                kept = field.end
        return [*parts, self._all[kept:end]] if parts else None

    def _with_data(self, begin: int, end: int) -> list[bytes | memoryview] | None:
        name, location, told = "", 0, {}
        parts: list[bytes | memoryview] = []
        kept = begin  # from here on, nothing has been put into parts
        for field in self._fields(begin, end):
            if field.number == NAME and field.wire == DELIMITED:
                name = self._text(field)
            if field.number not in {EXTERNAL_DATA, DATA_LOCATION, RAW_DATA}:
                continue
            if field.number == EXTERNAL_DATA and field.wire == DELIMITED:
                key, value = self._entry(field)
                if key in {"location", "offset", "length"}:
                    told[key] = value
            elif field.number == DATA_LOCATION and field.wire == 0:
                location, _ = varint.read(self._all[field.begin : field.end].tobytes(), 0)
            if kept < field.tag:
                parts.append(self._all[kept : field.tag])
            kept = field.end
        if location != EXTERNAL:
            return None
        data = self._data(name, told)
        return [*parts, self._all[kept:end], _tag(RAW_DATA), varint.write(len(data)), data]

    def _entry(self, entry: Field) -> tuple[str, str]:
        """The key and the value of a StringStringEntryProto."""
        texts = {field.number: self._text(field) for field in self._fields(entry.begin, entry.end)}
        return texts.get(1, ""), texts.get(2, "")

    def _text(self, field: Field) -> str:
        end = min(field.end, field.begin + LONGEST_TEXT)
        return self._all[field.begin : end].tobytes().decode(errors="replace")

    def _fields(self, begin: int, end: int) -> Iterator[Field]:
        at = begin
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise TooLarge(
                    f"The model in the archive has more than {MOST_FIELDS} fields; this server does not join "
                    "such a model with its data: export it with external_data=False."
                )
            head = self._all[at : min(end, at + 2 * varint.LONGEST)].tobytes()
            tag, read = varint.read(head, 0)
            wire = tag & 7
            number, behind = varint.read(head, read)
            data = at + read
            match wire:
                case 0:
                    data_end = at + behind if number >= 0 else -1
                case 1:
                    data_end = data + 8
                case 2:
                    data = at + behind
                    data_end = data + number if number >= 0 else -1
                case 5:
                    data_end = data + 4
                case _:
                    data_end = -1
            if tag < 0 or not data <= data_end <= end:
                raise InvalidInput(
                    "The model in the archive is not a whole ONNX file: it is cut off or damaged."
                )
            yield Field(tag >> 3, wire, at, data, data_end)
            at = data_end


def _number(name: str, what: str, text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise InvalidInput(f"The model's tensor {shown(name)} has the {what} {shown(text)} in its file.")
    return int(text)


def _tag(number: int) -> bytes:
    return varint.write(number << 3 | DELIMITED)


def _length(parts: list[bytes | memoryview]) -> int:
    return sum(map(len, parts))
