"""The engine manager and the TorchScript operator `trt::execute_engine`.

Importing this package registers the operators with torch, so that `torch.jit.load` and
`torch.ops.trt.execute_engine_list` find them.
"""

# The extension links to torch's libraries, which importing torch loads.
import torch  # noqa: F401  isort: skip

from runtime_ext._C import (
    AUTO_DELAY,
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
    Histogram,
    JsonLayout,
    LoadOptions,
    LogRecord,
    ManualClock,
    Output,
    Prepared,
    Runtime,
    ShapeRange,
    TensorMemory,
    TensorSpec,
    cut_json,
    find_number_lists,
    find_plain_strings,
    log_fd,
    read_contents,
    read_number_list,
    take_log,
    write_number_list,
)
from runtime_ext.backends import create_runtime
from runtime_ext.operators import module

__all__ = [
    "AUTO_DELAY",
    "DATATYPES",
    "KINDS",
    "BatchOptions",
    "BatchStats",
    "BuildOptions",
    "BuildProgress",
    "Completion",
    "Condition",
    "CutDocument",
    "Duration",
    "EngineInfo",
    "EngineStats",
    "Error",
    "Histogram",
    "JsonLayout",
    "LoadOptions",
    "LogRecord",
    "ManualClock",
    "Output",
    "Prepared",
    "Runtime",
    "ShapeRange",
    "TensorMemory",
    "TensorSpec",
    "create_runtime",
    "cut_json",
    "find_number_lists",
    "find_plain_strings",
    "log_fd",
    "module",
    "read_contents",
    "read_number_list",
    "take_log",
    "write_number_list",
]
