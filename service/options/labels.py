"""The option labels of an upload: a JSON document with the names of the classes of outputs."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import orjson
from pydantic_core import PydanticCustomError

from trtserve.text import shown

MOST_CHARACTERS = 1_048_576
MOST_KEPT = 64  # documents that were read; each request for classes needs that of its engine
EXAMPLE = '{"y":["cat","dog"]}'


@lru_cache(MOST_KEPT)
def read_labels(stored: str) -> Mapping[str, Sequence[str]]:
    """The labels of each output, from what canonical_labels() returned."""
    read: dict[str, list[str]] = orjson.loads(stored) if stored else {}
    return read


def canonical_labels(given: str) -> str:
    """The document as it is stored: without spaces; empty: none was given.

    Raises PydanticCustomError, which says what is wrong and shows an example.
    """
    if not given:
        return given
    if len(given) > MOST_CHARACTERS:
        raise _wrong(given, f"it has {len(given)} characters, and {MOST_CHARACTERS} are allowed")
    try:
        document = orjson.loads(given)
    except orjson.JSONDecodeError as failure:
        raise _wrong(given, str(failure)) from None
    if not isinstance(document, dict):
        raise _wrong(given, "it is no object")
    for output, labels in document.items():
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise _wrong(given, f"the labels of {shown(output)} are no list of strings")
    return orjson.dumps(document).decode()


def _wrong(given: str, why: str) -> PydanticCustomError:
    return PydanticCustomError(
        "labels",
        "Input should be a JSON document such as {example}; {given} is not one: {why}",
        {"example": EXAMPLE, "given": shown(given), "why": why},
    )
