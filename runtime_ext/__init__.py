"""The engine manager and the TorchScript operator `trt::execute_engine`.

Importing this package registers the operators with torch, so that `torch.jit.load` and
`torch.ops.trt.execute_engine_list` find them.
"""

# The extension links to torch's libraries, which importing torch loads.
import torch  # noqa: F401  isort: skip

from runtime_ext._C import (
    AUTO_BATCH_SIZE,
    AUTO_DELAY,
    DATATYPES,
    KINDS,
    BatchOptions,
    BatchStats,
    BuildOptions,
    BuildProgress,
    Completion,
    Condition,
    Duration,
    EngineInfo,
    EngineStats,
    Error,
    FilePart,
    HeadReader,
    Histogram,
    LoadOptions,
    LogRecord,
    ManualClock,
    Output,
    Prepared,
    Runtime,
    ShapeRange,
    TensorSpec,
    find_number_lists,
    find_plain_strings,
    log_fd,
    read_contents,
    read_number_list,
    take_log,
)
from runtime_ext.backends import create_runtime
from runtime_ext.operators import module

__all__ = [
    "AUTO_BATCH_SIZE",
    "AUTO_DELAY",
    "DATATYPES",
    "KINDS",
    "BatchOptions",
    "BatchStats",
    "BuildOptions",
    "BuildProgress",
    "Completion",
    "Condition",
    "Duration",
    "EngineInfo",
    "EngineStats",
    "Error",
    "FilePart",
    "HeadReader",
    "Histogram",
    "LoadOptions",
    "LogRecord",
    "ManualClock",
    "Output",
    "Prepared",
    "Runtime",
    "ShapeRange",
    "TensorSpec",
    "create_runtime",
    "find_number_lists",
    "find_plain_strings",
    "log_fd",
    "module",
    "read_contents",
    "read_number_list",
    "take_log",
]
