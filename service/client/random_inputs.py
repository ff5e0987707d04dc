"""Inputs made up from what an engine says of them, and arrays of the datatypes that it names."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trtserve.errors import InvalidInput, Unavailable

Spec = dict[str, Any]  # of a tensor: name, datatype, shape
LETTERS = 8  # of a string


def read_shape(text: str) -> tuple[str, list[int]]:
    """The name and the shape in `x:1,3,224,224`; the name ends at the last colon. Raises InvalidInput."""
    found = re.fullmatch(r"(.+):([0-9]{1,18}(?:,[0-9]{1,18})*)?", text, re.DOTALL)
    if found is None:
        raise InvalidInput(f"{text!r} is not an input's shape: write it as x:1,3,224,224.")
    return found[1], [int(dim) for dim in (found[2] or "").split(",") if dim]


def numpy_type(spec: Spec) -> np.dtype[Any]:
    """Objects for strings. Raises InvalidInput for a datatype that numpy does not have."""
    name = str(spec["datatype"])
    family = {"FP": "float", "INT": "int", "UINT": "uint"}.get(name.rstrip("0123456789"))
    if name == "BOOL":
        return np.dtype(bool)
    if name == "BYTES":
        return np.dtype(object)
    if family is None:
        raise InvalidInput(
            f"Input {spec['name']!r} is {name}, which numpy does not have; give a .safetensors file."
        )
    return np.dtype(family + name.lstrip("UINTFP"))


def inputs_for(engine: Mapping[str, Any], shapes: Sequence[str]) -> dict[str, Any]:
    """Random inputs of an engine, as the server describes it; `shapes` as x:1,3,224,224.

    Raises InvalidInput, and Unavailable if the engine is not loaded: its inputs are not known then.
    """
    if engine["state"] != "READY":
        raise Unavailable(
            f"Engine {engine['id']} is {engine['state']}, so its inputs are not known: load it first, with "
            f"trtserve load {engine['name'] or engine['id']}."
        )
    return random_inputs(engine["inputs"], engine["batch_dims"], dict(map(read_shape, shapes)))


def random_inputs(
    specs: Sequence[Spec],
    batch_dims: Mapping[str, int] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """Floats from 0 to 1, integers that are 0 or 1, which are indices of any table, and strings of 8 letters.

    A dimension that may vary is 1, or what the first profile says: its least batch, and otherwise its best.
    `batch_dims` are the engine's; `shapes` are whole ones, by input. Raises InvalidInput.
    """
    generator = np.random.default_rng()
    given = shapes or {}
    names = [str(spec["name"]) for spec in specs]
    for name in given:
        if name not in names:
            raise InvalidInput(
                f"The engine has no input {name!r}; its inputs are {', '.join(names) or 'none'}."
            )
    inputs: dict[str, Any] = {}
    for spec in specs:
        name, dtype = str(spec["name"]), numpy_type(spec)
        shape = list(given[name]) if name in given else _shape(spec, (batch_dims or {}).get(name, 0))
        inputs[name] = _values(generator, dtype, shape)
    return inputs


def _values(generator: np.random.Generator, dtype: np.dtype[Any], shape: list[int]) -> np.ndarray[Any, Any]:
    if dtype.kind == "O":
        letters = generator.integers(ord("a"), ord("z") + 1, (*shape, LETTERS), np.uint8)
        return np.ascontiguousarray(letters).view(f"S{LETTERS}").reshape(shape).astype(dtype)
    values = generator.random(shape) if dtype.kind == "f" else generator.integers(0, 2, shape)
    return np.asarray(values).astype(dtype)


def _shape(spec: Spec, batch_dim: int) -> list[int]:
    if spec["shape"] is None:
        raise InvalidInput(f"Input {spec['name']!r} may have any rank: give it with --input or --shape.")
    profiles = spec.get("profiles")
    shape = []
    for place, dim in enumerate(spec["shape"]):
        if isinstance(dim, int) and dim > 0:
            shape.append(dim)
        elif profiles:
            shape.append(max(1, profiles[0]["min" if place == batch_dim else "opt"][place]))
        else:
            shape.append(1)
    return shape
