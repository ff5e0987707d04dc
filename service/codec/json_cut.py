"""Reads JSON without its long parts, so that what is left is short in any request that makes sense."""

import secrets
from collections.abc import Sequence
from typing import Any

import orjson

from trtserve.codec.tensor import MOST_DOCUMENT_BYTES
from trtserve.errors import TooLarge


def read(
    document: memoryview, spans: Sequence[tuple[int, int]], quote: str, too_long: str
) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The parsed document, with a mark in place of each span, and the spans by their marks.

    `quote` goes around each mark if its span has no quotes around it. Raises orjson.JSONDecodeError, and
    TooLarge if too much is left: `too_long` is its sentence, with `{size}` and `{most}` in bytes.
    """
    mark = secrets.token_hex(8)  # which a client cannot guess
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
