"""The option labels of an upload: a JSON document with the names of the classes of outputs."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import orjson

from trtserve.options.json_documents import JsonDocument
from trtserve.text import shown

MOST_CHARACTERS = 1_048_576
MOST_LABEL_CHARACTERS = (
    1024  # each class of an answer repeats its label, so a request must not make much of one
)
MOST_KEPT = 64  # documents that were read; each request for classes needs that of its engine
EXAMPLE = '{"y":["cat","dog"]}'
DOCUMENT = JsonDocument("labels", EXAMPLE, MOST_CHARACTERS)


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
    DOCUMENT.check_length(given)
    try:
        document = orjson.loads(given)
    except orjson.JSONDecodeError as failure:
        raise DOCUMENT.wrong(given, str(failure)) from None
    if not isinstance(document, dict):
        raise DOCUMENT.wrong(given, "it is not an object")
    for output, labels in document.items():
        if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise DOCUMENT.wrong(given, f"the labels of {shown(output)} are not a list of strings")
        longest = max(map(len, labels), default=0)
        if longest > MOST_LABEL_CHARACTERS:
            why = f"a label of {shown(output)} has {longest} characters; {MOST_LABEL_CHARACTERS} are allowed"
            raise DOCUMENT.wrong(given, why)
    return orjson.dumps(document).decode()
