"""Datatypes by their Open Inference Protocol names: what numpy and safetensors call them."""

import numpy as np

from trtserve.errors import InvalidInput
from trtserve.text import shown

NUMPY: dict[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # numpy has none: the upper half of a float32, as an integer
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}

INTEGERS: dict[str, tuple[int, int]] = {
    "UINT8": (0, 2**8 - 1),
    "UINT16": (0, 2**16 - 1),
    "UINT32": (0, 2**32 - 1),
    "UINT64": (0, 2**64 - 1),
    "INT8": (-(2**7), 2**7 - 1),
    "INT16": (-(2**15), 2**15 - 1),
    "INT32": (-(2**31), 2**31 - 1),
    "INT64": (-(2**63), 2**63 - 1),
}
"""The least and the greatest number that each holds."""

FLOATS: dict[str, float] = {
    "FP16": (2 - 2**-10) * 2.0**15,
    "BF16": (2 - 2**-7) * 2.0**127,
    "FP32": (2 - 2**-23) * 2.0**127,
    "FP64": (2 - 2**-52) * 2.0**1023,
}
"""The greatest number that each holds."""

SAFETENSORS: dict[str, str] = {
    "BOOL": "BOOL",
    "UINT8": "U8",
    "UINT16": "U16",
    "UINT32": "U32",
    "UINT64": "U64",
    "INT8": "I8",
    "INT16": "I16",
    "INT32": "I32",
    "INT64": "I64",
    "FP16": "F16",
    "BF16": "BF16",
    "FP32": "F32",
    "FP64": "F64",
}
FROM_SAFETENSORS = {theirs: ours for ours, theirs in SAFETENSORS.items()}


def check(name: str, datatype: object) -> str:
    """The datatype of the tensor `name`, if it is one that can be read here."""
    if isinstance(datatype, str) and (datatype in NUMPY or datatype == "BYTES"):
        return datatype
    allowed = f"allowed are {', '.join(NUMPY)}"
    raise InvalidInput(f"Tensor {name!r} has the datatype {shown(datatype)}; {allowed}.")
