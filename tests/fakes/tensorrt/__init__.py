"""A fake TensorRT: toy plans, and the controls of the library that builds and runs them.

plan.h documents the plans, toy_model.h the models; fake_trt.h, fake_builder.h and gate/gate.h the controls.
"""

import ctypes
import struct
from pathlib import Path

import torch  # noqa: F401  # the library's dependencies

from runtime_ext.backends import PLUGIN_DIR

LIBRARY: Path = PLUGIN_DIR / "libnvinfer_fake.so"

_HEADER = struct.Struct("<4s4xQ8x4B4x")


def toy_plan(text: str, *, version: tuple[int, int, int, int] = (11, 1, 0, 106)) -> bytes:
    """Make a plan from `text`, one fact per line, as if built by that version of TensorRT."""
    body = "\n".join(line.strip() for line in text.splitlines()).encode()
    return _HEADER.pack(b"ftrt", _HEADER.size + len(body), *version) + body


def toy_model(text: str) -> bytes:
    """Make an ONNX model whose doc_string holds a toy plan, for the fake parser: see toy_model.h."""
    doc = f"toy plan <<<\n{text}\n>>>".encode()
    length = bytes([len(doc) & 0x7F | 0x80, len(doc) >> 7 & 0x7F | 0x80, len(doc) >> 14])
    return b"\x08\x08" + b"\x32" + length + doc  # ir_version 8; doc_string


def load() -> ctypes.CDLL:
    """Load the library, and declare the controls' types."""
    library = ctypes.CDLL(str(LIBRARY))
    for name, result, arguments in _CONTROLS:
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments
    return library


_CONTROLS: list[tuple[str, object, list[type]]] = [
    ("fake_trt_count", ctypes.c_int64, [ctypes.c_char_p]),
    ("fake_trt_live", ctypes.c_int64, [ctypes.c_char_p]),
    ("fake_trt_allocated", ctypes.c_int64, []),
    ("fake_trt_driver_error", None, [ctypes.c_int]),
    ("fake_trt_version", None, [ctypes.c_int]),
    ("fake_trt_gpu", None, [ctypes.c_int]),
    ("toy_gate_open", None, [ctypes.c_char_p]),
    ("toy_gate_await", ctypes.c_int, [ctypes.c_char_p, ctypes.c_int]),
]
