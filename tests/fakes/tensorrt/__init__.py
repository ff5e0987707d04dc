"""Fakes of two generations of TensorRT: toy plans, and the controls of the libraries that run them.

plan.h documents the plans; fake_trt.h and gate/gate.h document the controls; generation.h says how the
generations differ. The fake of TensorRT 11 builds plans, too, from the models of toy_model.h; fake_builder.h
documents its controls.
"""

import ctypes
import struct
from dataclasses import dataclass
from pathlib import Path

import torch  # noqa: F401  # the library's dependencies

from runtime_ext.backends import PLUGIN_DIR

_OLD_HEADER = struct.Struct("<4s4xQ8x4sB4sB4sB4sB")
_NEW_HEADER = struct.Struct("<4s4xQ8x4B4x")
_TAG = bytes.fromhex("02800100")


@dataclass(frozen=True)
class Generation:
    """A fake library with the backend that was compiled against its headers."""

    version: tuple[int, int, int, int]
    backend: str
    library: Path
    index: str  # the datatype of indices and of shapes as values

    @property
    def major(self) -> int:
        return self.version[0]


V8 = Generation((8, 5, 3, 1), "tensorrt8_fake", PLUGIN_DIR / "libnvinfer8_fake.so", "INT32")
V11 = Generation((11, 1, 0, 106), "tensorrt_fake", PLUGIN_DIR / "libnvinfer_fake.so", "INT64")


def toy_plan(text: str, generation: Generation = V11) -> bytes:
    """Make a plan from `text`, one fact per line, as if built by that generation's version of TensorRT."""
    body = "\n".join(line.strip() for line in text.splitlines()).encode()
    if generation is V8:
        major, minor, patch, build = generation.version
        size = _OLD_HEADER.size + len(body)
        return _OLD_HEADER.pack(b"ptrt", size, _TAG, major, _TAG, minor, _TAG, patch, _TAG, build) + body
    return _NEW_HEADER.pack(b"ftrt", _NEW_HEADER.size + len(body), *generation.version) + body


def toy_model(text: str) -> bytes:
    """Make an ONNX model whose doc_string holds a toy plan, for the fake parser: see toy_model.h."""
    doc = f"toy plan <<<\n{text}\n>>>".encode()
    length = bytes([len(doc) & 0x7F | 0x80, len(doc) >> 7 & 0x7F | 0x80, len(doc) >> 14])
    return b"\x08\x08" + b"\x32" + length + doc  # ir_version 8; doc_string


def load(generation: Generation = V11) -> ctypes.CDLL:
    """Load the library, and declare the controls' types."""
    library = ctypes.CDLL(str(generation.library))
    for name, result, arguments in _CONTROLS + (_BUILDER_CONTROLS if generation is V11 else []):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


_BUILDER_CONTROLS: list[tuple[str, object, list[type]]] = [("fake_trt_gpu", None, [ctypes.c_int])]
_CONTROLS: list[tuple[str, object, list[type]]] = [
    ("fake_trt_count", ctypes.c_int64, [ctypes.c_char_p]),
    ("fake_trt_live", ctypes.c_int64, [ctypes.c_char_p]),
    ("fake_trt_allocated", ctypes.c_int64, []),
    ("fake_trt_driver_error", None, [ctypes.c_int]),
    ("fake_trt_version", None, [ctypes.c_int]),
    ("toy_gate_open", None, [ctypes.c_char_p]),
    ("toy_gate_await", ctypes.c_int, [ctypes.c_char_p, ctypes.c_int]),
]
