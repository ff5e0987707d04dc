"""Writes TorchScript archives for the torchscript backend."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

Tensors = Mapping[str, tuple[str, Sequence[int]]]

ROWS = ("FP32", [-1, 4])


def description(inputs: Tensors, outputs: Tensors) -> str:
    """Describe tensors by name, as (datatype, shape)."""

    def entries(tensors: Tensors) -> list[dict[str, object]]:
        return [
            {"name": name, "datatype": datatype, "shape": list(shape)}
            for name, (datatype, shape) in tensors.items()
        ]

    return json.dumps({"inputs": entries(inputs), "outputs": entries(outputs)})


def write(
    path: Path,
    module: torch.nn.Module,
    inputs: Tensors | None = None,
    outputs: Tensors | None = None,
    *,
    described: bool = True,
) -> Path:
    """Script a module and save it; its tensors are x and y, FP32 [?, 4], unless told."""
    text = description({"x": ROWS} if inputs is None else inputs, {"y": ROWS} if outputs is None else outputs)
    scripted = module if isinstance(module, torch.jit.ScriptModule) else torch.jit.script(module)
    torch.jit.save(scripted, str(path), _extra_files={"trtserve.json": text} if described else {})
    return path


def from_code(*methods: str) -> torch.jit.ScriptModule:
    """Make a module of methods in TorchScript, given as text."""
    # A class of its own: torch shares the methods of all modules of one class.
    module: torch.jit.ScriptModule = torch.jit.script(type("Code", (torch.nn.Module,), {})())
    for method in methods:
        module.define(method)
    return module


def write_code(path: Path, code: str, **tensors: Tensors | None) -> Path:
    """Save a module whose forward is given as text."""
    return write(path, from_code(code), **tensors)
