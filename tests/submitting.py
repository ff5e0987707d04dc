"""Requests to a runtime, real or not, that are written in one line."""

from collections.abc import Sequence

from runtime_ext import Runtime

Tensor = tuple[str, str, Sequence[int], object]  # name, datatype, shape, buffer


def submit(
    runtime: Runtime, id: int, tensors: Sequence[Tensor], timeout_ns: int | None = None, priority: int = 1
) -> int:
    """The ticket of a request, which nothing is kept of for another."""
    prepared = runtime.prepare(id, [tensor[:3] for tensor in tensors])
    return runtime.submit(prepared, tuple(tensor[3] for tensor in tensors), 0, timeout_ns, priority)
