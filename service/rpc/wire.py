"""The large parts of the messages of an inference, which protobuf would copy.

A message is fields one after the other, each with a tag (its number and how it is written) before it; those
of a ModelInferRequest and of a ModelInferResponse are written as a length and that many bytes. Where the raw
tensors lie is therefore read off without reading anything else, and where they come behind a written message
they belong to it. Source: protobuf's "Encoding".
"""

from collections.abc import Iterable

MOST_FIELDS = 4096  # of a message that is looked through here: each takes longer than it does in protobuf
LENGTH_DELIMITED = 2
RAW_INPUT_CONTENTS = 7 << 3 | LENGTH_DELIMITED
RAW_OUTPUT_CONTENTS = bytes([6 << 3 | LENGTH_DELIMITED])
INFER_RESPONSE = bytes([2 << 3 | LENGTH_DELIMITED])  # in a ModelStreamInferResponse


def split(message: bytes) -> tuple[bytes, list[memoryview]]:
    """A ModelInferRequest without its raw_input_contents, and these as views on it.

    A message with anything unusual in it comes back whole: then protobuf has all of it, and every fault.
    """
    view = memoryview(message)
    rest: list[memoryview] = []
    raw: list[memoryview] = []
    at = kept = 0  # `kept`: where what is to be kept begins
    fields = 0
    while at < len(message):
        fields += 1
        tag = message[at]
        size, begin = _length(message, at + 1)
        end = begin + size
        if tag & 0x87 != LENGTH_DELIMITED or size < 0 or end > len(message) or fields > MOST_FIELDS:
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


def _length(message: bytes, at: int) -> tuple[int, int]:
    """The number that is written at `at`, and where what follows it begins; -1 where there is none."""
    number = 0
    for place, byte in enumerate(message[at : at + 5]):  # a message has less than 2 GiB
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
