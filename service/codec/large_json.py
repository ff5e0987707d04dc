"""Large JSON bodies: simdjson reads the numbers of a tensor straight into a buffer, never as Python objects.

It takes what is plain: one list of numbers, or lists nested as the shape says. Whatever is not, it leaves to
the strict way through orjson (protocol and json_data), which then takes or refuses it with its sentence: so
this decides nothing, it is only faster.
"""

import math
from typing import Any

import numpy as np
import simdjson

from service.codec.datatypes import FLOATS, INTEGERS, NUMPY
from service.codec.json_data import Array
from service.codec.tensor import RANK, TENSORS
from service.codec.whole import MOST_EXACT, whole

LEAST_BYTES = 16_384  # of a body that is worth it
MOST_KEYS = 64  # of an object: simdjson looks each up from the first on

READ = {"id", "parameters", "inputs", "outputs"}  # keys of a request
READ_OF_INPUT = {"name", "datatype", "shape", "parameters"}  # and "data", which is read here
SHARED_BYTES = 1024**2  # of a body, at most, that is read by the parser that all share

_shared = simdjson.Parser()  # keeps seven times the largest body that it has read


def parse(document: bytes | memoryview) -> dict[str, Any] | None:
    """The document, where the `data` of an input is an array already; None where it is not plain.

    The arrays are one-dimensional, of the datatype that the input says, with as many elements as its shape.
    """
    try:
        return _parse(document)
    except (ValueError, TypeError, LookupError, RuntimeError, OverflowError):
        return None


def _parse(document: bytes | memoryview) -> dict[str, Any] | None:
    parser = _shared if len(document) <= SHARED_BYTES else simdjson.Parser()
    root = parser.parse(document)
    if not isinstance(root, simdjson.Object):
        return None
    plain: dict[str, Any] = {}
    lists = 0
    for key in _keys(root):
        value = root[key]
        if key == "inputs" and isinstance(value, simdjson.Array):
            if len(value) > TENSORS:
                return None
            lists += 1
            plain[key] = []
            for tensor in value:
                if not isinstance(tensor, simdjson.Object):
                    return None
                described = {
                    key: _plain(tensor[key], key in READ_OF_INPUT) for key in _keys(tensor) if key != "data"
                }
                lists += _lists(described)
                data = tensor["data"]
                if not isinstance(data, simdjson.Array):
                    return None
                described["shape"] = shape = _shape(described["shape"])
                elements = math.prod(shape)
                lists += _check_nesting(data, shape)
                described["data"] = _array(data, described["datatype"], elements)
                plain[key].append(described)
        else:
            plain[key] = _plain(value, key in READ)
            lists += _lists(plain[key])
    # simdjson flattens what is nested: no list is where none was looked for, if there are not more than seen.
    return plain if bytes(document).count(b"[") == lists else None


def _keys(value: Any) -> list[str]:
    if len(value) > MOST_KEYS:
        raise ValueError("more keys than anything plain has")
    keys = list(value.keys())
    if len(set(keys)) != len(keys):
        raise ValueError("a key comes twice: simdjson would take the first, and JSON's readers the last")
    return keys


def _plain(value: Any, is_read: bool) -> Any:
    if not is_read and isinstance(value, (simdjson.Array, simdjson.Object)):
        raise ValueError("nobody reads it, and to make Python objects of it takes longer than orjson does")
    if isinstance(value, simdjson.Array):
        return value.as_list()
    return value.as_dict() if isinstance(value, simdjson.Object) else value


def _lists(value: object) -> int:
    """How many lists there are in a value."""
    if isinstance(value, dict):
        return sum(map(_lists, value.values()))
    return 1 + sum(map(_lists, value)) if isinstance(value, list) else 0


def _shape(given: Any) -> list[int]:
    """The shape in whole numbers. ValueError or TypeError where it is none, before it is multiplied."""
    dims = [dim for dim in map(whole, given) if dim is not None] if len(given) <= RANK else []
    if len(dims) != len(given):
        raise ValueError("no shape")
    return dims


def _check_nesting(data: Any, shape: list[int]) -> int:
    """How many lists the data is made of, if it is nested as the shape says or flat. ValueError otherwise."""
    if len(shape) <= 1 or not isinstance(data[0], simdjson.Array):
        return 1
    lists = 0
    level = [data]
    for depth, dim in enumerate(shape):
        lists += len(level)
        if any(len(part) != dim for part in level):
            raise ValueError("the data is nested otherwise")
        if depth + 1 < len(shape):
            level = [inner for part in level for inner in part]
    return lists


def _array(data: Any, datatype: str, elements: int) -> Array:
    """The data in the layout of its datatype. ValueError or TypeError where it is not as it should be."""
    if datatype in FLOATS and datatype != "BF16":
        with np.errstate(over="ignore"):
            array = np.frombuffer(data.as_buffer(of_type="d"), np.float64).astype(NUMPY[datatype])
        fits = bool(np.isfinite(array).all())
    elif datatype in INTEGERS:
        least, greatest = INTEGERS[datatype]
        wide = _wide(data, datatype)
        fits = len(wide) > 0 and bool(wide.min() >= least and wide.max() <= greatest)
        array = wide.astype(NUMPY[datatype]) if fits else wide
    else:
        raise ValueError("not a datatype for this way")
    if not fits or len(array) != elements:
        raise ValueError("the data does not fit")
    return array


def _wide(data: Any, datatype: str) -> Array:
    """Whole numbers in a type that holds them all. ValueError where there are others."""
    # simdjson refuses a negative number as an unsigned one, and one beyond 63 bits as a signed one.
    kind, dtype = ("u", np.uint64) if datatype == "UINT64" else ("i", np.int64)
    try:
        return np.frombuffer(data.as_buffer(of_type=kind), dtype)
    except (ValueError, TypeError):
        floats = np.frombuffer(data.as_buffer(of_type="d"), np.float64)
    # One that is just MOST_EXACT may have been another before it was a float.
    if not bool(((floats == np.trunc(floats)) & (np.abs(floats) < MOST_EXACT)).all()):
        raise ValueError("not whole, or perhaps not exact")
    return floats
