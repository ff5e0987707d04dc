"""Tensors of numpy or torch as safetensors, and back; torch is imported only if the program has done so."""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from trtserve.errors import InvalidInput

MEDIA_TYPE = "application/x-safetensors"

Tensors = Mapping[str, Any]
"""What is to be sent, by name: arrays of numpy, or what it makes arrays of, or tensors of torch."""


def of_torch(tensors: Tensors) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and any(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


def encode(tensors: Tensors) -> bytes:
    """A safetensors file. Raises InvalidInput for what it cannot express."""
    if of_torch(tensors):
        import torch
        from safetensors.torch import save as save_torch

        # It refuses tensors that share memory, and such that are not contiguous.
        whole = torch.contiguous_format
        on_cpu = {name: torch.as_tensor(tensor).detach().cpu() for name, tensor in tensors.items()}
        return save_torch({name: tensor.clone(memory_format=whole) for name, tensor in on_cpu.items()})
    arrays = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    for name, array in arrays.items():
        if array.dtype.kind not in "biufV":  # V: bfloat16, as ml_dtypes has it
            raise InvalidInput(
                f"Input {name!r} is an array of {array.dtype}; give one of numbers or of bool, "
                "as numpy.asarray(x, numpy.float32)."
            )
    try:
        return save(
            {name: array.astype(array.dtype.newbyteorder("<"), copy=False) for name, array in arrays.items()}
        )
    except SafetensorError as failure:
        given = ", ".join(f"{name} {array.dtype}" for name, array in arrays.items())
        raise InvalidInput(f"safetensors cannot express the inputs ({given}): {failure}.") from failure


def decode(body: bytes, *, torch: bool) -> dict[str, Any]:
    """The tensors of a safetensors file: torch's, or numpy's.

    numpy has no BF16, so such a tensor comes as FP32, which has the same values.
    """
    if torch:
        from safetensors.torch import load

        return load(body)
    found: list[tuple[str, dict[str, Any]]] = deserialize(body)  # type: ignore[no-untyped-call]
    return {name: _array(**tensor) for name, tensor in found}


def _array(*, dtype: str, shape: list[int], data: bytes) -> np.ndarray[Any, Any]:
    if dtype == "BF16":  # the upper half of an FP32
        halves = np.frombuffer(data, "<u2").astype("<u4")
        return (halves << 16).view("<f4").reshape(shape)
    if dtype == "BOOL":
        return np.frombuffer(data, bool).reshape(shape)
    kind = {"F": "f", "I": "i", "U": "u"}[dtype[0]]
    return np.frombuffer(data, f"<{kind}{int(dtype[1:]) // 8}").reshape(shape)
