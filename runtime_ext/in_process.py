"""Engines in any program, without a server: a plan's file becomes a torch module.

They are for the operators alone, so there is no queue and no thread. A process has either these engines or a
Runtime, to which the operators would belong.
"""

import atexit
import hashlib
from os import PathLike
from pathlib import Path

import torch
from torch.jit._recursive import wrap_cpp_module

import runtime_ext.operators  # noqa: F401  # the fake kernel
from runtime_ext import _C
from runtime_ext.backends import register_built_backends

DRAIN_AT_EXIT_S = 5.0  # for executions of threads that still run when the program ends


def load_engine(
    path: str | PathLike[str],
    *,
    name: str = "",
    device: str = "auto",
    backend: str = "",
    instances: int = 0,
    precision: str = "f32",
    threads: int = 0,
    cuda_graphs: str = "auto",
) -> int:
    """Load a plan (a TensorRT engine, an ONNX model or a blob of OpenVINO), and return the engine's ID: the
    first 52 bits of the plan's SHA-256, as on a server.

    The options are those of an upload; an empty `backend` is chosen by the plan's first bytes. `instances`
    is how many calls run at the same time. A plan that is loaded already is counted, not loaded again: it
    needs as many calls of unload_engine(). Raises Error: a Conflict if it is loaded with other options, or if
    the program has a Runtime.
    """
    with Path(path).open("rb") as file:
        id = int.from_bytes(hashlib.file_digest(file, "sha256").digest()[:8]) >> 12
        options = _C.LoadOptions(
            name=name,
            device=device,
            instances=instances,
            precision=precision,
            threads=threads,
            cuda_graphs=cuda_graphs,
        )
        # The file that was read, even if the path has come to stand for another.
        _C.load_process_engine(id, f"/proc/self/fd/{file.fileno()}", backend, options)
    return id


def unload_engine(id: int) -> None:
    """End one use of an engine. The last one unloads it, once its executions have ended; while modules that
    carry the engine exist, it stays loaded for them. Raises Error (NotFound) if load_engine() has not loaded
    the engine, or if all its uses have ended."""
    _C.unload_process_engine(id)


def wrap(id: int, *, portable: bool = False) -> torch.jit.ScriptModule:
    """Return the module around an engine: call it with the engine's inputs, in their order. Several outputs
    come as a tuple.

    The module holds the engine's ID, and works in a file only where that engine is loaded. A `portable` one
    holds the engine with its plan: it keeps it loaded, and torch.jit.load stands it up again in a process
    that has imported this package. Raises Error, a NotFound, if the engine is not loaded.
    """
    found = _C.carrying_module(id) if portable else _C.typed_module(id)
    wrapped: torch.jit.ScriptModule = wrap_cpp_module(found)  # type: ignore[no-untyped-call]
    return wrapped


def shutdown() -> None:
    """Unload every engine of load_engine() and of portable modules. Called when the program ends; a program
    that then wants a Runtime calls it before."""
    _C.close_process_engines(DRAIN_AT_EXIT_S)


register_built_backends(_C.register_process_backend)
atexit.register(shutdown)
