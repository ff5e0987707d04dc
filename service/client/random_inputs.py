"""Inputs made up from what an engine says of them, and arrays of the datatypes that it names."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from trtserve.errors import InvalidInput

Spec = dict[str, Any]  # of a tensor: name, datatype, shape


def numpy_type(spec: Spec) -> np.dtype[Any]:
    """Raises InvalidInput for a datatype that numpy does not have."""
    name = str(spec["datatype"])
    family = {"FP": "float", "INT": "int", "UINT": "uint"}.get(name.rstrip("0123456789"))
    if name == "BOOL":
        return np.dtype(bool)
    if name == "BYTES":
        raise InvalidInput(
            f"Input {spec['name']!r} is strings, BYTES: give a .json file that is the body of a request."
        )
    if family is None:
        raise InvalidInput(
            f"Input {spec['name']!r} is {name}, which numpy does not have; give a .safetensors file."
        )
    return np.dtype(family + name.lstrip("UINTFP"))


def random_inputs(specs: Sequence[Spec]) -> dict[str, Any]:
    """Floats from 0 to 1, and integers that are 0 or 1, which are indices of any table; a dimension that may
    vary is 1."""
    generator = np.random.default_rng()
    inputs: dict[str, Any] = {}
    for spec in specs:
        dtype = numpy_type(spec)
        if spec["shape"] is None:
            raise InvalidInput(f"Input {spec['name']!r} may have any rank: give it with --input.")
        shape = [dim if isinstance(dim, int) and dim > 0 else 1 for dim in spec["shape"]]
        values = generator.random(shape) if dtype.kind == "f" else generator.integers(0, 2, shape)
        inputs[spec["name"]] = np.asarray(values).astype(dtype)
    return inputs
