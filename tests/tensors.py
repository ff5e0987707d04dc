"""Tensors of every datatype for tests of the codecs, as numpy arrays in the datatype's own layout."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.fakes.runtime import Output
from trtserve.codec.datatypes import DATATYPES

Array = npt.NDArray[Any]
Tensor = tuple[str, Array]

SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)


def output(datatype: str, array: Array, name: str = "y") -> Output:
    """An engine's output as Python sees it above the seam."""
    return Output.of(name, datatype, array.shape, np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def bfloat16_to_float32(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _finite_bfloat16() -> st.SearchStrategy[int]:
    return st.integers(0, 2**16 - 1).filter(lambda bits: bits & 0x7F80 != 0x7F80)


@st.composite
def tensors(draw: st.DrawFn, *, finite: bool) -> Tensor:
    """A datatype and an array of that type; BF16 is the upper half of a float32 in a uint16."""
    datatype = draw(st.sampled_from(sorted(DATATYPES)))
    dtype = DATATYPES[datatype].numpy
    elements: st.SearchStrategy[Any] | None = None
    if finite and datatype == "BF16":
        elements = _finite_bfloat16()
    elif finite and dtype.kind == "f":
        elements = st.floats(width=dtype.itemsize * 8, allow_nan=False, allow_infinity=False)
    return datatype, draw(hnp.arrays(dtype, draw(SHAPES), elements=elements))


def same(datatype: str, array: Array, buffer: object) -> bool:
    """True if the buffer holds the array bit for bit; any NaN equals any other."""
    found = np.frombuffer(memoryview(buffer).cast("B"), DATATYPES[datatype].numpy)
    return found.size == math.prod(array.shape) and found.tobytes() == array.tobytes()
