"""The formats that plans have, and what a file is found to be."""

from enum import StrEnum
from typing import TYPE_CHECKING, Literal, NamedTuple


class Format(StrEnum):
    TENSORRT = "tensorrt"
    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCHSCRIPT = "torchscript"


ASKED_FORMATS = ("auto", *map(str, Format))
"""What may be asked for: `auto` tells the format from the first bytes."""

if TYPE_CHECKING:
    AskedFormat = str
else:
    AskedFormat = Literal[ASKED_FORMATS]


class Sniffed(NamedTuple):
    what: str  # completes "The plan is …"
    format: Format | None = None  # None: nothing that an engine can be made of
    advice: str = ""  # a sentence: what to do instead
    known: bool = True
    archived: bool = False  # packed, with the files that hold its tensors
