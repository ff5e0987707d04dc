"""What format a plan has, told from its first bytes.

A hint for people and a choice of backend, never a guarantee: the backend that deserializes the plan
has the last word. The source of each layout stands where it is read.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

from trtserve import varint
from trtserve.errors import InvalidInput, Unsupported
from trtserve.formats.generations import is_generation
from trtserve.formats.not_a_plan import CONVERT_TO_ONNX, HEAD_BYTES, is_text, recognise_foreign
from trtserve.formats.tensorrt_head import read_head, shown_version


class Format(StrEnum):
    TENSORRT = "tensorrt"
    ONNX = "onnx"
    OPENVINO = "openvino"


BACKENDS = {Format.TENSORRT: "tensorrt", Format.ONNX: "openvino", Format.OPENVINO: "openvino"}
"""The backend that stands up engines of each format."""


class Sniffed(NamedTuple):
    what: str  # completes "The plan is …"
    format: Format | None = None  # None: nothing that an engine can be made of
    advice: str = ""  # a sentence: what to do instead
    known: bool = True


def decide(head: bytes, asked: str, backends: Sequence[str]) -> Format:
    """The format to load a plan as; `asked` is a format or "auto", `backends` those of this server.

    Raises InvalidInput for what is no plan or another one than asked for, Unsupported for a plan whose
    backend is not here.
    """
    sniffed = sniff(head)
    if sniffed.format is None and (sniffed.known or asked == "auto"):
        raise InvalidInput(f"The plan is {sniffed.what}. {sniffed.advice}")
    if sniffed.format is not None and asked not in {"auto", sniffed.format}:
        raise InvalidInput(
            f"The plan is {sniffed.what}, but format={asked} was asked for. "
            f"Ask for format={sniffed.format} or leave it out."
        )
    # What is not known here goes to the backend that was asked for: it may know more.
    chosen = sniffed.format or Format(asked)
    if not any(is_generation(each, BACKENDS[chosen]) for each in backends):
        raise Unsupported(
            f"The plan is {sniffed.what}, and this server has no {BACKENDS[chosen]} backend. "
            f"{_remedy(chosen)}"
        )
    return chosen


def _remedy(format: Format) -> str:
    if format is Format.TENSORRT:
        return (
            "It is compiled where TensorRT's and CUDA's headers are found: build the server again with them, "
            'on a machine with an NVIDIA GPU (README, "On a GPU"), or upload the ONNX model that the plan '
            "was built from."
        )
    return "Install it with `pip install openvino`."


def sniff(head: bytes) -> Sniffed:
    """Tell what a file is from its first bytes: all that there are, or as many as read_head() looks at."""
    if (sniffed := _tensorrt(head)) is not None:
        return sniffed
    head = head[:HEAD_BYTES]
    for recognise in _RECOGNISERS:
        if (sniffed := recognise(head)) is not None:
            return sniffed
    return Sniffed(
        f"something unknown that begins with the bytes {head[:16].hex(' ')}",
        advice="Plans are TensorRT engines, ONNX models and blobs exported by OpenVINO; "
        "if it is one of them all the same, say which with format=tensorrt, onnx or openvino.",
        known=False,
    )


def _tensorrt(head: bytes) -> Sniffed | None:
    plan = read_head(head)
    if plan is None:
        return None
    wrapped = ", wrapped with metadata by Ultralytics" if plan.wrapped else ""
    if plan.version is None and not plan.cut_off:
        return Sniffed(
            f"a TensorRT plan{wrapped} of a version before 8.5",
            advice="No supported TensorRT reads it: build the plan again from its ONNX model.",
        )
    if plan.version is None:
        return Sniffed(
            f"a TensorRT plan{wrapped} that is cut off: {plan.cut_off}",
            advice="Its download or copy did not come to an end, it seems: fetch it again.",
        )
    if plan.rtx:
        return Sniffed(
            f"a plan built by TensorRT for RTX {shown_version(plan.version)}{wrapped}",
            advice="TensorRT cannot read the plans of that other library: build the plan with TensorRT "
            "(trtexec), or upload the ONNX model that it was built from.",
        )
    return Sniffed(
        f"a TensorRT plan built by TensorRT {shown_version(plan.version)}{wrapped}", Format.TENSORRT
    )


def _openvino_blob(head: bytes) -> Sniffed | None:
    # What CompiledModel.export_model() writes: since 2026 a tagged header with `ov=<version>`; before,
    # six u64 (the first is 48, their own length) and an XML document `<cnndata>`.
    if head.startswith(b"RR_UPCVO"):
        version = re.search(rb"ov=([\w.-]+)", head[:512])
        by = f" {version[1].decode()}" if version else ""
        return Sniffed(f"a blob exported by OpenVINO{by}", Format.OPENVINO)
    if head.startswith(struct.pack("<Q", 48)) and re.match(rb"<\?xml[^>]*>\s*<cnndata", head[48:]):
        return Sniffed("a blob exported by OpenVINO", Format.OPENVINO)
    return None


def _foreign(head: bytes) -> Sniffed | None:
    foreign = recognise_foreign(head)
    return Sniffed(foreign.what, advice=foreign.advice) if foreign else None


_ONNX_FIELDS = {2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}
"""Of ModelProto, after ir_version; all but model_version (5) are length-delimited."""


def _onnx(head: bytes) -> Sniffed | None:
    # ModelProto, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto: fields in order, ir_version first.
    fields = list(_protobuf_fields(head))
    if len(fields) < 2:
        return None
    number, ir_version = fields[0]
    if number != 1 or not isinstance(ir_version, int):
        return None
    for number, value in fields[1:]:
        if number not in _ONNX_FIELDS or isinstance(value, int) != (number == 5):
            return None
        if number in {2, 3, 4} and isinstance(value, bytes) and not is_text(value):
            # TensorFlow's saved_model.pb begins alike: a schema version, then a message.
            return Sniffed("a TensorFlow SavedModel", advice=CONVERT_TO_ONNX)
    # An int64, as its bits are written. The backend refuses what no release has.
    shown = int.from_bytes((ir_version % 2**64).to_bytes(8), signed=True)
    return Sniffed(f"an ONNX model (IR version {shown})", Format.ONNX)


def _protobuf_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The top-level fields of a message for as far as `data` goes; field 0 where it is not a message."""
    position = 0
    while position < len(data):
        tag, position = varint.read(data, position)
        value, behind = varint.read(data, position)
        cut_off = value < 0 and len(data) - position < varint.LONGEST
        if tag < 0 and cut_off:
            return
        if value < 0 and not cut_off:
            yield 0, 0
            return
        value, position = (0, len(data)) if cut_off else (value, behind)
        match tag & 7:
            case 0:
                yield tag >> 3, value
            case 2:
                yield tag >> 3, data[position : position + value]
                position += value
            case _:  # ModelProto has no field of another wire type
                yield 0, 0
                return


_RECOGNISERS: tuple[Callable[[bytes], Sniffed | None], ...] = (
    _openvino_blob,
    _foreign,
    _onnx,  # last: what it looks at is the least distinct
)
