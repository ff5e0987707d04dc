"""Requests in JSON that are alike but for their numbers and their id: C++ reads these, and nothing is parsed.

A document is cut into its lists of numbers, its id, and its rest. Once a request has been accepted, another
document of the same rest says the same of everything but what was cut out, so the answer to "what does it ask
for" is known. Whatever is unusual in a document makes its rest another one, or its lists no numbers: then it
is read as if this module did not exist.
"""

import secrets
from typing import Any

import orjson

from runtime_ext import CutDocument, JsonLayout, cut_json
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.request import InferRequest

LISTS = 16  # in a document, at most
REST_BYTES = 4096  # of a document, at most
LIST, ID = b"\0", b"\1"  # what cut_json() leaves


def cut(body: bytes | memoryview, offset: int) -> CutDocument | None:
    """The document from `offset` on, cut; None if it has too much besides numbers."""
    return cut_json(body, offset, LISTS, REST_BYTES)


def layout(rest: bytes, request: InferRequest) -> JsonLayout | None:
    """How to read documents of this rest; None if that is not plain. `request` is what one of them says."""
    mark = secrets.token_hex(8)  # which a client cannot guess
    root = _with_marks(rest, mark)
    inputs = root["inputs"]
    tensors = [(datatype, shape) for _, datatype, shape, _ in request.inputs]
    plain = (
        [tensor.get("data") for tensor in inputs] == [f"{mark}{number}" for number in range(rest.count(LIST))]
        and all(datatype in DATATYPES and DATATYPES[datatype].read_as is None for datatype, _ in tensors)
        and (ID not in rest or root.get("id") == mark)
    )
    return JsonLayout(tensors, ID in rest) if plain else None


def _with_marks(rest: bytes, mark: str) -> Any:
    """The parsed rest, in which a mark stands for the id, and one with a number for each list."""
    first, *others = rest.replace(ID, mark.encode()).split(LIST)
    return orjson.loads(
        first + b"".join(b'"%b%d"%b' % (mark.encode(), number, part) for number, part in enumerate(others))
    )
