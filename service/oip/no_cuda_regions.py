"""Answers to clients that share memory of a GPU, which this server does not support.

Clients ask for the status, and unregister all regions when they start and end, even if they use none.
"""

from typing import Any, NoReturn

from trtserve.errors import NotFound, Unsupported


def register(name: str) -> NoReturn:
    raise Unsupported(
        f"CUDA shared memory region {name!r} is not registered: this server takes none. Use system shared "
        "memory, or binary tensors in the requests."
    )


def status(name: str | None) -> list[dict[str, Any]]:
    """Empty for all regions; NotFound for one."""
    if name:
        raise NotFound(f"There is no CUDA shared memory region {name!r}: this server takes none.")
    return []
