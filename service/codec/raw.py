"""A body that is the data of the one input and nothing else: `Inference-Header-Content-Length` is 0.

Source: "Raw Binary Request" in Triton's binary data extension. What the JSON would have said is told from the
engine's input and the number of bytes, so at most one dimension may be left open besides the batch's, which
is 1. All outputs are answered as blobs.
"""

import math
from collections.abc import Sequence

from runtime_ext import TensorSpec
from trtserve.codec.datatypes import DATATYPES
from trtserve.codec.request import InferRequest
from trtserve.errors import InvalidInput

HOW_ELSE = "send the JSON with its name, datatype and shape before the data"


def decode(specs: Sequence[TensorSpec], batch_dim: int | None, body: bytes | memoryview) -> InferRequest:
    """The request; `specs` are the engine's inputs, `batch_dim` that of the input where requests are joined.

    Raises InvalidInput where the shape cannot be told.
    """
    if len(specs) != 1:
        names = ", ".join(repr(spec.name) for spec in specs)
        raise InvalidInput(
            f"The request is raw data without JSON, which is for engines with one input; this one has "
            f"{names or 'none'}: send the JSON with their names, datatypes and shapes before the data."
        )
    spec = specs[0]
    shape = _shape(spec, batch_dim, len(body))
    return InferRequest(inputs=[(spec.name, spec.datatype, shape, body)], binary_outputs=True)


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
            f"{spec.shape}, has {len(variable)} variable dimensions{besides}, where one can be told from the "
            f"number of bytes: {HOW_ELSE}."
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
