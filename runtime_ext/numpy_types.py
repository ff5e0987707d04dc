"""numpy's types for the datatypes of tensors, as their elements are stored."""

from typing import Any

import numpy as np

STORED: dict[str, np.dtype[Any]] = {
    datatype: np.dtype(stored)
    for datatype, stored in {
        "BOOL": "?",
        "UINT8": "<u1",
        "UINT16": "<u2",
        "UINT32": "<u4",
        "UINT64": "<u8",
        "INT8": "<i1",
        "INT16": "<i2",
        "INT32": "<i4",
        "INT64": "<i8",
        "FP16": "<f2",
        "BF16": "<u2",  # numpy has no bfloat16: it is the upper half of a float32, as an integer
        "FP32": "<f4",
        "FP64": "<f8",
    }.items()
}
