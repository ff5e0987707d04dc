"""What the tests of engines without a Runtime share."""

import gc
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import runtime_ext
from runtime_ext import _C

DOUBLE = "input x FP32 -1 4\noutput y x 2"
X = torch.arange(8.0).reshape(2, 4)
ENGINE_CLASS = "__torch__.torch.classes.trt.Engine"

LOAD_AND_RUN = """
import sys
import torch, runtime_ext
module = torch.jit.load(sys.argv[1])
print(module(torch.arange(8.0).reshape(2, 4)).tolist())
"""


def toy(folder: Path, text: str) -> Path:
    """Write a toy plan, given without its first line."""
    path = folder / "toy.plan"
    path.write_text(f"toy 1\n{text}\n")
    return path


def is_loaded(engine: int) -> bool:
    gc.collect()
    try:
        _C.engine_info(engine)
    except runtime_ext.Error:
        return False
    return True


def refusal(kind: str, call: Callable[[], object]) -> str:
    with pytest.raises(runtime_ext.Error) as refused:
        call()
    assert refused.value.kind == kind
    return str(refused.value)


def saved(module: torch.jit.ScriptModule) -> bytes:
    file = io.BytesIO()
    torch.jit.save(module, file)
    return file.getvalue()


def loaded(file: bytes) -> torch.jit.ScriptModule:
    return torch.jit.load(io.BytesIO(file))


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-c", code, *arguments]
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": os.environ["PATH"]}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


class Around(torch.nn.Module):
    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x + 1) - 1
