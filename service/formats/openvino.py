"""What OpenVINO runs: blobs that it exported, and ONNX models."""

import re
import struct
from collections.abc import Iterator

from trtserve.formats import varint
from trtserve.formats.format import Format, Sniffed
from trtserve.formats.not_a_plan import CONVERT_TO_ONNX, CORE_ML, EXPORT_ONNX, is_text


def recognise_blob(head: bytes) -> Sniffed | None:
    # What CompiledModel.export_model() writes: since 2026 a tagged header with `ov=<version>`; before,
    # six u64 (the first is 48, their own length) and an XML document `<cnndata>`.
    if head.startswith(b"RR_UPCVO"):
        version = re.search(rb"ov=([\w.-]+)", head[:512])
        by = f" {version[1].decode()}" if version else ""
        return Sniffed(f"a blob exported by OpenVINO{by}", Format.OPENVINO)
    if head.startswith(struct.pack("<Q", 48)) and re.match(rb"<\?xml[^>]*>\s*<cnndata", head[48:]):
        return Sniffed("a blob exported by OpenVINO", Format.OPENVINO)
    return None


_ONNX_FIELDS = {2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26}
"""Of ModelProto, after ir_version; all but model_version (5) are length-delimited."""


def recognise_onnx(head: bytes) -> Sniffed | None:
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
            # Two other files begin alike: TensorFlow's saved_model.pb, whose schema version is 1, and Core
            # ML's, whose specification version is higher for what today's tools write.
            if ir_version == 1:
                return Sniffed("a TensorFlow SavedModel", advice=CONVERT_TO_ONNX)
            return Sniffed(CORE_ML, advice=EXPORT_ONNX)
    # An int64, as its bits are written. The backend refuses what no release has.
    shown = int.from_bytes((ir_version % 2**64).to_bytes(8), signed=True)
    return Sniffed(f"an ONNX model (IR version {shown})", Format.ONNX)


def _protobuf_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The top-level fields of a message, as far as `data` goes; field 0 if it is not a message."""
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
