"""Tensors whose elements are fields of their message: InferTensorContents."""

import struct
from typing import Any

import numpy as np

from service.codec import datatypes
from service.codec.tensor import check_elements
from service.errors import InvalidInput

FIELDS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Where the elements of each datatype are. FP16 and BF16 have no field."""


def read(name: str, datatype: str, shape: list[int], contents: Any) -> bytes:
    """What raw contents would be for a tensor of that datatype and shape, which are checked.

    `contents` are its InferTensorContents.
    """
    expected = FIELDS.get(datatype)
    if expected is None:
        raise InvalidInput(
            f"Tensor {name!r} is of datatype {datatype}, for which contents have no field: "
            "send it in raw_input_contents."
        )
    for field, _ in contents.ListFields():
        if field.name != expected:
            raise InvalidInput(
                f"Tensor {name!r} has its data in {field.name}; that of datatype {datatype} "
                f"belongs into {expected}."
            )
    elements = getattr(contents, expected)
    check_elements(name, shape, len(elements))
    if datatype == "BYTES":  # each element behind its length
        return b"".join(part for element in elements for part in (struct.pack("<I", len(element)), element))
    if datatype not in datatypes.INTEGERS:
        return np.array(elements, datatypes.NUMPY[datatype]).tobytes()
    least, greatest = datatypes.INTEGERS[datatype]
    # All that the fields of these hold.
    wide = np.array(elements, np.uint64 if datatype == "UINT64" else np.int64)
    outside = wide[(wide < least) | (wide > greatest)]
    if outside.size:
        raise InvalidInput(
            f"Tensor {name!r} has the element {outside[0]}; {datatype} is from {least} to {greatest}."
        )
    return wide.astype(datatypes.NUMPY[datatype]).tobytes()
