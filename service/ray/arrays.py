"""numpy's arrays as the inputs of a request, and the outputs of its answer as arrays."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from runtime_ext import Output
from runtime_ext.numpy_types import STORED
from trtserve.codec.request import Input
from trtserve.errors import InvalidInput, Unsupported

Array = np.ndarray[Any, np.dtype[Any]]

DATATYPES = {stored: datatype for datatype, stored in STORED.items() if datatype != "BF16"}


def inputs_of(tensors: Mapping[str, Any]) -> list[Input]:
    """What numpy makes arrays of, by name; a bfloat16 of ml_dtypes is a BF16. Raises InvalidInput."""
    return [_input(name, np.asarray(tensor)) for name, tensor in tensors.items()]


def outputs_of(outputs: Iterable[Output]) -> dict[str, Array]:
    """Views on the outputs by name. numpy has no BF16, so it comes as float32, which has the same values."""
    return {output.name: _array(output) for output in outputs}


def _input(name: str, array: Array) -> Input:
    if array.dtype.name == "bfloat16":
        datatype = "BF16"
        array = array.view("<u2")
    else:
        known = DATATYPES.get(array.dtype.newbyteorder("<"))
        if known is None:
            raise InvalidInput(
                f"Input {name!r} is an array of {array.dtype}; give one of numbers or of bool, as "
                "numpy.asarray(x, numpy.float32)."
            )
        datatype = known
    shape = list(array.shape)
    stored = STORED[datatype]
    return name, datatype, shape, np.ascontiguousarray(array, stored).reshape(-1).view(np.uint8)


def _array(output: Output) -> Array:
    if output.datatype not in STORED:
        raise Unsupported(
            f"Output {output.name!r} is of {output.datatype}, which has no array of numbers: ask over HTTP."
        )
    array: Array = np.frombuffer(memoryview(output), STORED[output.datatype])
    if output.datatype == "BF16":  # the upper half of a float32
        array = (array.astype("<u4") << 16).view("<f4")
    return array.reshape(output.shape)
