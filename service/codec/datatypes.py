"""The datatypes of tensors, by their Open Inference Protocol names: one record each."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime_ext import DATATYPES as SIZES
from runtime_ext.numpy_types import STORED
from trtserve.errors import InvalidInput
from trtserve.text import shown


@dataclass(frozen=True, slots=True)
class Datatype:
    """What readers and writers of tensors need to know of a datatype."""

    name: str  # the protocol's
    size: int  # bytes of an element
    safetensors: str
    numpy: np.dtype[np.generic]
    integers: tuple[int, int] | None = None  # the least and the greatest that it holds
    greatest: float | None = None  # of floats: the greatest finite value
    typecode: str | None = None  # of array.array, if that accepts JSON's numbers unchanged
    read_as: str | None = None  # the datatype that its text is read as before numpy rounds it
    contents: int | None = None  # the field of gRPC's InferTensorContents that has its elements


def _datatype(name: str, safetensors: str, **more: Any) -> Datatype:
    return Datatype(name, SIZES[name], safetensors, STORED[name], **more)


def _integer(name: str, safetensors: str, contents: int) -> Datatype:
    held = np.iinfo(STORED[name])
    return _datatype(name, safetensors, integers=(int(held.min), int(held.max)), contents=contents)


_ALL = (
    _datatype("BOOL", "BOOL", contents=1),
    _integer("UINT8", "U8", contents=4),
    _integer("UINT16", "U16", contents=4),
    _integer("UINT32", "U32", contents=4),
    _integer("UINT64", "U64", contents=5),
    _integer("INT8", "I8", contents=2),
    _integer("INT16", "I16", contents=2),
    _integer("INT32", "I32", contents=2),
    _integer("INT64", "I64", contents=3),
    _datatype("FP16", "F16", greatest=(2 - 2**-10) * 2.0**15, read_as="FP64"),
    _datatype("BF16", "BF16", greatest=(2 - 2**-7) * 2.0**127, read_as="FP32"),
    _datatype("FP32", "F32", greatest=(2 - 2**-23) * 2.0**127, typecode="f", contents=6),
    _datatype("FP64", "F64", greatest=(2 - 2**-52) * 2.0**1023, typecode="d", contents=7),
)

DATATYPES: dict[str, Datatype] = {datatype.name: datatype for datatype in _ALL}
FROM_SAFETENSORS: dict[str, Datatype] = {datatype.safetensors: datatype for datatype in _ALL}


def check(name: str, datatype: object) -> str:
    """Return the datatype of the tensor `name`. Raises InvalidInput if it cannot be read here."""
    if isinstance(datatype, str) and (datatype in DATATYPES or datatype == "BYTES"):
        return datatype
    allowed = f"allowed are {', '.join(DATATYPES)}"
    raise InvalidInput(f"Tensor {name!r} has the datatype {shown(datatype)}; {allowed}.")
