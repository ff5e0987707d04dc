"""One-line requests to a runtime, real or fake."""

from collections.abc import Sequence

from runtime_ext import Runtime

Tensor = tuple[str, str, Sequence[int], object]  # name, datatype, shape, buffer


def submit(
    runtime: Runtime, id: int, tensors: Sequence[Tensor], timeout_ns: int | None = None, priority: int = 1
) -> int:
    """Prepare and submit a request; return its ticket."""
    prepared = runtime.prepare(id, [tensor[:3] for tensor in tensors])
    return runtime.submit(prepared, tuple(tensor[3] for tensor in tensors), 0, timeout_ns, priority)
