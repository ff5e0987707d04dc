"""Makes values and shapes that no sane client sends."""

from collections.abc import Iterator

import numpy as np

INTEGERS = (-1, 0, 7, 1000, -1000, 2**31 - 1, -(2**31), 10**9)
FLOATS = (np.nan, np.inf, 1e30, -1.0)


def hostile(inputs: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yield a description of a change to one of the inputs, and the changed inputs."""
    for name, array in inputs.items():
        for what, changed in [*_values(array), *_shapes(array)]:
            yield f"{name}: {what}", {**inputs, name: changed}
    for size in (0, 1):
        yield f"all: first dimension {size}", {name: _resized(a, 0, size) for name, a in inputs.items()}


def _values(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if array.size == 0:
        return
    kind = array.dtype.kind
    if kind in "iu":
        limits = np.iinfo(array.dtype)
        numbers: tuple[float, ...] = tuple(n for n in INTEGERS if limits.min <= n <= limits.max)
    else:
        numbers = FLOATS if kind == "f" else (False, True)
    with np.errstate(over="ignore"):
        for number in numbers:
            yield f"all {number}", np.full_like(array, number)
            if array.size > 1:
                last = array.copy()
                last.reshape(-1)[-1] = number
                yield f"last {number}", last


def _shapes(array: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    for axis in range(array.ndim):
        for size in (0, 1, array.shape[axis] + 1):
            if size != array.shape[axis]:
                yield f"dimension {axis} of {array.shape[axis]} is {size}", _resized(array, axis, size)


def _resized(array: np.ndarray, axis: int, size: int) -> np.ndarray:
    """Return the array with one dimension resized: cut, or with its elements repeated."""
    if array.ndim == 0:
        return array
    if array.shape[axis] == 0:
        shape = list(array.shape)
        shape[axis] = size
        return np.zeros(shape, array.dtype)
    return np.take(array, range(size), axis, mode="wrap")
