"""The engine manager and the TorchScript operator `trt::execute_engine`.

Importing this package registers the operators with torch, so that `torch.jit.load` and
`torch.ops.trt.execute_engine_list` find them. See torch_libraries for processes that do not use torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# The extension links to torch's libraries, so this comes first.
from runtime_ext.torch_libraries import WITHOUT_TORCH  # isort: skip

from runtime_ext._C import (
    AUTO_BATCH_SIZE,
    AUTO_DELAY,
    BESIDE,
    DATATYPES,
    KINDS,
    BatchOptions,
    BatchStats,
    BuildOptions,
    BuildProgress,
    Completion,
    Condition,
    CutDocument,
    Duration,
    EngineInfo,
    EngineStats,
    Error,
    FilePart,
    GrpcMessage,
    HeadReader,
    Histogram,
    JsonLayout,
    LoadOptions,
    LogRecord,
    ManualClock,
    ModuleInspection,
    Output,
    Prepared,
    Runtime,
    ShapeRange,
    TensorMemory,
    TensorSpec,
    available_host_memory,
    cut_json,
    find_number_lists,
    find_plain_strings,
    log_fd,
    read_contents,
    read_number_list,
    read_string_contents,
    take_log,
    top_classes,
    write_number_list,
)
from runtime_ext.backends import create_runtime

if TYPE_CHECKING:
    from runtime_ext.compiler import Compiled, CompileError, compile
if TYPE_CHECKING or not WITHOUT_TORCH:
    from runtime_ext.in_process import load_engine, shutdown, unload_engine, wrap
    from runtime_ext.operators import module

_LATE = {
    "module": "operators",
    **dict.fromkeys(("load_engine", "shutdown", "unload_engine", "wrap"), "in_process"),
    **dict.fromkeys(("CompileError", "Compiled", "compile"), "compiler"),
}
"""Where to find what needs torch's modules, or many of them."""


def __getattr__(name: str) -> Any:
    """Import them for who uses them."""
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"runtime_ext.{_LATE[name]}"), name)


try:
    from runtime_ext._C import GrpcSession as GrpcSession

    GRPC_SESSION = True
except ImportError:  # built without nghttp2
    GRPC_SESSION = False

__all__ = [
    "AUTO_BATCH_SIZE",
    "AUTO_DELAY",
    "BESIDE",
    "DATATYPES",
    "GRPC_SESSION",
    "KINDS",
    "BatchOptions",
    "BatchStats",
    "BuildOptions",
    "BuildProgress",
    "CompileError",
    "Compiled",
    "Completion",
    "Condition",
    "CutDocument",
    "Duration",
    "EngineInfo",
    "EngineStats",
    "Error",
    "FilePart",
    "GrpcMessage",
    "HeadReader",
    "Histogram",
    "JsonLayout",
    "LoadOptions",
    "LogRecord",
    "ManualClock",
    "ModuleInspection",
    "Output",
    "Prepared",
    "Runtime",
    "ShapeRange",
    "TensorMemory",
    "TensorSpec",
    "available_host_memory",
    "compile",
    "create_runtime",
    "cut_json",
    "find_number_lists",
    "find_plain_strings",
    "load_engine",
    "log_fd",
    "module",
    "read_contents",
    "read_number_list",
    "read_string_contents",
    "shutdown",
    "take_log",
    "top_classes",
    "unload_engine",
    "wrap",
    "write_number_list",
]
