"""Shared memory of a GPU, which this server does not take: what its clients are told.

They ask for the status, and unregister all regions as they begin and end, whether they use any or not.
"""

from typing import Any, NoReturn

from trtserve.errors import NotFound, Unsupported


def register(name: str) -> NoReturn:
    raise Unsupported(
        f"CUDA shared memory region {name!r} is not registered: this server takes none. Use system shared "
        "memory, or binary tensors in the requests."
    )


def status(name: str | None) -> list[dict[str, Any]]:
    """Of all regions, none; of one, NotFound."""
    if name:
        raise NotFound(f"There is no CUDA shared memory region {name!r}: this server takes none.")
    return []
