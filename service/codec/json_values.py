"""Tensor data as JSON lists, strictly: a value that the datatype cannot hold is refused, never changed."""

from array import array
from collections.abc import Sequence
from itertools import chain
from math import isfinite
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from runtime_ext import write_number_list
from trtserve.codec.datatypes import DATATYPES, Datatype
from trtserve.codec.tensor import check_elements
from trtserve.codec.whole import MOST_EXACT, whole
from trtserve.errors import InvalidInput
from trtserve.text import shown

Array = npt.NDArray[Any]

BOOL, BF16 = DATATYPES["BOOL"], DATATYPES["BF16"]
BF16_INFINITY = 0x7F80
NUMBERS = {int, float}
FEW = 256  # elements


def to_array(name: str, datatype: str, shape: list[int], data: object) -> Array:
    """The elements of a list, flat or nested as `shape` says, as a one-dimensional array.

    Raises InvalidInput. Types are checked before numpy sees the values: it would read `true` as 1, and 1.5 as
    a whole number.
    """
    values = flat(name, shape, data)
    known = DATATYPES[datatype]
    if known.integers is not None:
        return _to_int(name, known, known.integers, values)
    if known is BOOL:
        return _to_bool(name, values)
    return _to_bfloat16(name, values) if known is BF16 else _to_float(name, known, values)


def write(datatype: str, data: memoryview | bytes) -> bytes:
    """The elements as a flat JSON list. Safe in another thread: long work does not hold the GIL."""
    return write_number_list(data, datatype)


def flat(name: str, shape: list[int], data: object) -> list[Any]:
    """The elements of a list that is flat, or nested as `shape` says."""
    if not isinstance(data, list):
        raise InvalidInput(f"The data of tensor {name!r} is {shown(data)}; it must be a list.")
    if list not in map(type, data):
        check_elements(name, shape, len(data))
        return data
    level: list[Any] = [data]
    for depth, dim in enumerate(shape):
        for part in level:
            if type(part) is not list or len(part) != dim:
                raise InvalidInput(
                    f"The data of tensor {name!r} is not nested like its shape {shape}: "
                    f"at depth {depth} it has {shown(part)} instead of a list of {dim}."
                )
        level = list(chain.from_iterable(level))
    return level


def _check_types(name: str, datatype: str, values: list[Any], taken: set[type]) -> None:
    if not taken.issuperset(map(type, values)):
        wrong = next(index for index, value in enumerate(values) if type(value) not in taken)
        raise _refusal(name, datatype, values, wrong)


def _to_bool(name: str, values: list[Any]) -> Array:
    _check_types(name, "BOOL", values, {bool, int})
    if not {0, 1}.issuperset(values):
        wrong = next(index for index, value in enumerate(values) if value not in {0, 1})
        raise _refusal(name, "BOOL", values, wrong)
    return np.array(values, np.bool_)


def _to_int(name: str, datatype: Datatype, held: tuple[int, int], values: list[Any]) -> Array:
    if not {int}.issuperset(map(type, values)):
        values = _from_floats(name, datatype.name, values)
    least, greatest = held
    if values and (min(values) < least or max(values) > greatest):
        wrong = next(index for index, value in enumerate(values) if not least <= value <= greatest)
        raise _refusal(name, datatype.name, values, wrong)
    return np.array(values, datatype.numpy)


def _from_floats(name: str, datatype: str, values: list[Any]) -> list[int]:
    wholes = [whole(value) for value in values]
    if None in wholes:
        raise _refusal(name, datatype, values, wholes.index(None))
    return cast("list[int]", wholes)


def _to_float(name: str, datatype: Datatype, values: list[Any]) -> Array:
    _check_types(name, datatype.name, values, NUMBERS)
    if datatype.typecode is not None and len(values) <= FEW:
        few = _few_floats(datatype, datatype.typecode, values)
        if few is not None:
            return few
    with np.errstate(over="ignore"):
        converted = np.array(values, np.float64).astype(datatype.numpy)
    _check_finite(name, datatype.name, values, np.isfinite(converted))
    return converted


def _few_floats(datatype: Datatype, typecode: str, values: list[Any]) -> Array | None:
    """A few numbers as an array, without numpy's slow calls; None if one of them may not be finite."""
    try:
        packed = array(typecode, values)
    except OverflowError:
        return None
    # A value that is not finite makes the sum so too. If only the sum overflows, the caller checks again.
    return np.frombuffer(packed, datatype.numpy) if isfinite(sum(packed)) else None


def _to_bfloat16(name: str, values: list[Any]) -> Array:
    rounded = _rounded_to_bfloat16(_to_float(name, DATATYPES["FP32"], values))
    _check_finite(name, "BF16", values, _finite("BF16", rounded))
    return rounded


def narrowed(name: str, datatype: str, wide: Array) -> Array:
    """FP64 as FP16, or FP32 as BF16. Raises InvalidInput if an element is too large for that."""
    with np.errstate(over="ignore"):
        narrow = _rounded_to_bfloat16(wide) if datatype == "BF16" else wide.astype(DATATYPES[datatype].numpy)
    _check_finite(name, datatype, wide, _finite(datatype, narrow))
    return narrow


def _rounded_to_bfloat16(floats: Array) -> Array:
    """Round each float32 to the nearest bfloat16, ties to even; a value that was wider is rounded twice.

    bfloat16 is the upper half of a float32. Adding just under half of its last place, and the last place
    itself, carries into it when the lower half is above one half, or is one half and the place is odd.
    """
    bits = floats.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _finite(datatype: str, array: Array) -> Array:
    return (array & BF16_INFINITY) != BF16_INFINITY if datatype == "BF16" else np.isfinite(array)


def _check_finite(name: str, datatype: str, values: Sequence[Any] | Array, finite: Array) -> None:
    if not finite.all():
        raise _refusal(name, datatype, values, int(finite.argmin()))


def _refusal(name: str, datatype: str, values: Sequence[Any] | Array, index: int) -> InvalidInput:
    value = values[index]
    inexact = isinstance(value, float) and abs(value) > MOST_EXACT
    return refusal(name, datatype, index, as_json(value), inexact=inexact)


def refusal(name: str, datatype: str, index: int, written: str, *, inexact: bool) -> InvalidInput:
    """The error for a tensor whose element `index` does not fit its datatype.

    `written` is the element as text; `inexact`: it is a float so large that several whole numbers share it.
    """
    known = DATATYPES[datatype]
    if known.integers is not None:
        takes = "whole numbers from {} to {}".format(*known.integers)
        if inexact:
            takes += f", and those over {MOST_EXACT} without a point or an exponent"
    else:
        takes = "true and false" if known is BOOL else f"numbers up to {known.greatest:.8g}"
    return InvalidInput(
        f"Tensor {name!r} has {written} at element {index} of its data; {datatype} takes {takes}."
    )


def as_json(value: object) -> str:
    """An element for a sentence, spelled as in JSON."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return shown(value)
