"""The large parts of the messages of an inference, which protobuf would copy.

A message is fields one after the other, each with a tag (its number and how it is written) before it; those
of a ModelInferRequest and of a ModelInferResponse are written as a length and that many bytes. Where the raw
tensors lie is therefore read off without reading anything else, and where they come behind a written message
they belong to it. Source: protobuf's "Encoding".
"""

from collections.abc import Iterable

from service.codec.tensor import TENSORS
from service.errors import InvalidInput

OTHERS = 1024  # fields of a request that are no tensors: a few, and its parameters
MOST_FIELDS = 3 * TENSORS + OTHERS  # inputs, outputs, raw contents; protobuf makes 80 bytes of two
LEAST_FIELD = 2  # bytes: a tag and a length
LENGTH_BYTES = 5  # of a number, 7 bits in each: a message has less than 2 GiB
NUMBER_BYTES = 10  # of one with 64 bits
LENGTH_DELIMITED = 2
RAW_INPUT_CONTENTS = 7 << 3 | LENGTH_DELIMITED
RAW_OUTPUT_CONTENTS = bytes([6 << 3 | LENGTH_DELIMITED])
INFER_RESPONSE = bytes([2 << 3 | LENGTH_DELIMITED])  # in a ModelStreamInferResponse


def split(message: bytes) -> tuple[bytes, list[memoryview]]:
    """A ModelInferRequest without its raw_input_contents, and these as views on it.

    What is faulty comes back whole, for protobuf to refuse. Raises InvalidInput where it could have more
    fields than a request has.
    """
    view = memoryview(message)
    rest: list[memoryview] = []
    raw: list[memoryview] = []
    at = kept = 0  # `kept`: where what is to be kept begins
    fields = 0
    while at < len(message):
        fields += 1
        if fields > MOST_FIELDS:
            raise InvalidInput(
                f"The request has more than {MOST_FIELDS} fields: it must have at most {TENSORS} each of "
                f"inputs, outputs and raw_input_contents, and {OTHERS} others."
            )
        tag = message[at]
        if tag & 0x87 == LENGTH_DELIMITED:
            size, begin = _number(message, at + 1, LENGTH_BYTES)
            end = begin + size if size >= 0 else -1
        else:
            end = _end_of_unknown(message, at)
        if not at < end <= len(message):
            if len(message) - at > MOST_FIELDS * LEAST_FIELD:
                raise InvalidInput(
                    f"The message is no inference.ModelInferRequest: what is at its byte {at} is no field of "
                    "one, or not whole."
                )
            return message, []
        if tag == RAW_INPUT_CONTENTS:
            rest.append(view[kept:at])
            raw.append(view[begin:end])
            kept = end
        at = end
    return (b"".join([*rest, view[kept:]]), raw) if raw else (message, [])


def with_outputs(response: bytes, outputs: Iterable[memoryview]) -> list[bytes | memoryview]:
    """A ModelInferResponse with these raw_output_contents, in parts."""
    parts: list[bytes | memoryview] = [response]
    for output in outputs:
        parts += [RAW_OUTPUT_CONTENTS + _varint(len(output)), output]
    return parts


def in_stream(*response: bytes) -> list[bytes]:
    """A ModelStreamInferResponse with a response, in parts as its own come in parts."""
    return [INFER_RESPONSE + _varint(sum(map(len, response))), *response]


def _end_of_unknown(message: bytes, at: int) -> int:
    """Where a field ends that the protocol has not, and protobuf passes over; -1 where that cannot be told.

    One that it has is written otherwise.
    """
    tag, begin = _number(message, at, LENGTH_BYTES)
    match tag & 7 if tag > RAW_INPUT_CONTENTS else None:
        case 0:
            number, end = _number(message, begin, NUMBER_BYTES)
            return end if number >= 0 else -1
        case 1:
            return begin + 8
        case 5:
            return begin + 4
        case 2:
            size, begin = _number(message, begin, LENGTH_BYTES)
            return begin + size if size >= 0 else -1
        case _:  # a group, which proto3 has no more, or a fault
            return -1


def _number(message: bytes, at: int, most: int) -> tuple[int, int]:
    """The number in at most so many bytes from `at` on, and where what follows it begins; -1 for none."""
    number = 0
    for place, byte in enumerate(message[at : at + most]):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, at + place + 1
    return -1, at


def _varint(number: int) -> bytes:
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
