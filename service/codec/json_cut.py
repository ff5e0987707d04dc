"""JSON without its long parts: these are not read with the rest, which is short in all that anybody means."""

import secrets
from collections.abc import Sequence
from typing import Any

import orjson

from trtserve.codec.tensor import MOST_DOCUMENT_BYTES
from trtserve.errors import TooLarge


def read(
    document: memoryview, spans: Sequence[tuple[int, int]], quote: str, too_long: str
) -> tuple[Any, dict[str, tuple[int, int]]]:
    """What is in the document, with a mark in place of each span; and the spans, by their marks.

    `quote` is around a mark where none is around its span. Raises orjson.JSONDecodeError, and TooLarge where
    too much is left: `too_long` says so of `{size}` bytes, and that `{most}` are read.
    """
    mark = secrets.token_hex(8)  # that nobody can have written
    left: list[bytes | memoryview] = []
    at = 0
    for number, (begin, end) in enumerate(spans):
        left += [document[at:begin], f"{quote}{mark}{number}{quote}".encode()]
        at = end
    left.append(document[at:])
    size = sum(map(len, left))
    if size > MOST_DOCUMENT_BYTES:
        raise TooLarge(too_long.format(size=size, most=MOST_DOCUMENT_BYTES))
    return orjson.loads(b"".join(left)), {f"{mark}{number}": span for number, span in enumerate(spans)}
