"""A body that is only the data of the engine's one input: its `Inference-Header-Content-Length` is 0.

Source: "Raw Binary Request" in Triton's binary data extension. The engine's input and the number of bytes
replace the JSON, so at most one dimension may be variable besides the batch's, which is 1. All outputs are
answered as blobs. Where the input is BYTES, the body is its one element, without the length before it.
"""

import math
from collections.abc import Sequence

from runtime_ext import TensorSpec
from trtserve.codec import strings
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.request import InferRequest
from trtserve.errors import InvalidInput

HOW_ELSE = "send the JSON with its name, datatype and shape before the data"


def decode(specs: Sequence[TensorSpec], batch_dim: int | None, body: bytes | memoryview) -> InferRequest:
    """The request; `specs` are the engine's inputs, `batch_dim` the input's dimension that joins requests.

    Raises InvalidInput if the shape cannot be inferred.
    """
    if len(specs) != 1:
        names = ", ".join(repr(spec.name) for spec in specs)
        raise InvalidInput(
            f"The request is raw data without JSON, which is for engines with one input; this one has "
            f"{names or 'none'}: send the JSON with their names, datatypes and shapes before the data."
        )
    spec = specs[0]
    if spec.datatype == "BYTES":
        data = strings.pack([bytes(body)])
        return InferRequest(inputs=[(spec.name, "BYTES", _of_one(spec), data)], binary_outputs=True)
    shape = _shape(spec, batch_dim, len(body))
    return InferRequest(inputs=[(spec.name, spec.datatype, shape, body)], binary_outputs=True)


def _of_one(spec: TensorSpec) -> list[int]:
    """The shape of one string, which the body is: a picture, for example."""
    if spec.shape is None or any(dim > 1 or dim == 0 for dim in spec.shape):
        raise InvalidInput(
            f"The request is raw data without JSON, which is one string; the engine's input {spec.name!r}, "
            f"BYTES {spec.shape}, takes several: {HOW_ELSE}."
        )
    return [1] * len(spec.shape)


def is_determined(specs: Sequence[TensorSpec]) -> bool:
    """True if the number of bytes determines a request's shape, its batch dimension included."""
    return len(specs) == 1 and specs[0].shape is not None and sum(dim < 0 for dim in specs[0].shape) <= 1


def _shape(spec: TensorSpec, batch_dim: int | None, size: int) -> list[int]:
    if spec.shape is None:
        raise InvalidInput(
            f"The request is raw data without JSON, and the engine does not say what rank its input "
            f"{spec.name!r} has: {HOW_ELSE}."
        )
    shape = [1 if dim == batch_dim else length for dim, length in enumerate(spec.shape)]
    variable = [dim for dim, length in enumerate(shape) if length < 0]
    if len(variable) > 1:
        besides = " besides the batch's" if batch_dim is not None else ""
        raise InvalidInput(
            f"The request is raw data without JSON, and the engine's input {spec.name!r}, {spec.datatype} "
            f"{spec.shape}, has {len(variable)} variable dimensions{besides}, but the number of bytes "
            f"determines only one: {HOW_ELSE}."
        )
    step = math.prod(length for length in shape if length >= 0) * DATATYPES[spec.datatype].size
    if variable:
        fits = step > 0 and size % step == 0
        if fits:
            shape[variable[0]] = size // step
        wanted = f"a multiple of {step} bytes"
    else:
        fits = size == step
        wanted = f"{step} bytes"
    if not fits:
        batch = " for a batch of one" if batch_dim is not None else ""
        raise InvalidInput(
            f"The request is raw data of {size} bytes; the engine's input {spec.name!r}, {spec.datatype} "
            f"{spec.shape}, takes {wanted}{batch}."
        )
    return shape
