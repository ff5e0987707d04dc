"""Tensor data as JSON lists, strictly: a value that the datatype cannot hold is refused, never bent."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from service.codec.datatypes import NUMPY
from service.errors import InvalidInput

Array = npt.NDArray[Any]

BF16_INFINITY = 0x7F80


def to_array(name: str, datatype: str, shape: list[int], data: object) -> Array:
    """The elements of a list, flat or nested as `shape` says, in the datatype's layout."""
    if not isinstance(data, list):
        raise InvalidInput(f"The data of tensor {name!r} is {shown(data)}; it must be a list.")
    try:
        values = np.array(data)
    except (ValueError, OverflowError):
        raise InvalidInput(f"The data of tensor {name!r} is nested unevenly, or too deeply.") from None
    _check_shape(name, shape, values)
    if values.size == 0:
        return np.empty(0, NUMPY[datatype])
    if values.dtype.kind not in "biuf":
        raise InvalidInput(f"The data of tensor {name!r} has elements that are no {datatype}.")
    if datatype == "BOOL":
        return _to_bool(name, values)
    if values.dtype.kind == "b":
        raise InvalidInput(f"The data of tensor {name!r} is true and false; the datatype is {datatype}.")
    if datatype == "BF16":
        return _to_bfloat16(name, values)
    return _to_float(name, datatype, values) if datatype.startswith("FP") else _to_int(name, datatype, values)


def to_list(datatype: str, data: memoryview) -> Array:
    """The elements, flat, as something that the JSON encoder takes."""
    values = np.frombuffer(data, NUMPY[datatype])
    if datatype == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def _check_shape(name: str, shape: list[int], values: Array) -> None:
    expected = math.prod(shape)
    if values.size != expected:
        raise InvalidInput(
            f"Tensor {name!r} has {values.size} elements in its data; shape {shape} takes {expected}."
        )
    if values.ndim > 1 and values.size > 0 and list(values.shape) != shape:
        raise InvalidInput(
            f"The data of tensor {name!r} is nested as {list(values.shape)}; its shape is {shape}."
        )


def _to_bool(name: str, values: Array) -> Array:
    if values.dtype.kind == "f" or not np.isin(values, (0, 1)).all():
        raise InvalidInput(f"The data of tensor {name!r} has elements that are neither true nor false.")
    return values.astype(np.bool_)


def _to_int(name: str, datatype: str, values: Array) -> Array:
    if values.dtype.kind == "f":
        raise InvalidInput(f"The data of tensor {name!r} has fractions, or numbers too large for {datatype}.")
    allowed = np.iinfo(NUMPY[datatype].name)
    least, greatest = int(values.min()), int(values.max())
    if least < allowed.min or greatest > allowed.max:
        raise InvalidInput(
            f"The data of tensor {name!r} goes from {least} to {greatest}; "
            f"{datatype} holds {allowed.min} to {allowed.max}."
        )
    return values.astype(NUMPY[datatype])


def _to_float(name: str, datatype: str, values: Array) -> Array:
    with np.errstate(over="ignore"):
        converted = values.astype(NUMPY[datatype])
    if not np.isfinite(converted).all():
        raise _too_large(name, datatype, values)
    return converted


def _to_bfloat16(name: str, values: Array) -> Array:
    """Round to nearest, ties to even: half of the lowest kept bit's weight, and that bit, decide."""
    bits = _to_float(name, "FP32", values).view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    if ((rounded & BF16_INFINITY) == BF16_INFINITY).any():
        raise _too_large(name, "BF16", values)
    return rounded


def _too_large(name: str, datatype: str, values: Array) -> InvalidInput:
    greatest = np.abs(values.astype(np.float64)).max()
    return InvalidInput(
        f"The data of tensor {name!r} goes up to {greatest:g}: beyond the range of {datatype}."
    )


def shown(value: object) -> str:
    """A JSON value for a sentence, not longer than one."""
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
