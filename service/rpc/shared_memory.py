"""Regions of shared memory that clients register. Those in a GPU's memory are not taken."""

import asyncio
from typing import Any

from starlette.datastructures import State

from service.errors import NotFound, Unsupported

Answer = dict[str, Any]


async def system_status(state: State, request: Any) -> Answer:
    return {
        "regions": {region["name"]: region for region in state.shared_memory.status(request.name or None)}
    }


async def system_register(state: State, request: Any) -> Answer:
    await asyncio.to_thread(
        state.shared_memory.register, request.name, request.key, request.offset, request.byte_size
    )
    return {}


async def system_unregister(state: State, request: Any) -> Answer:
    """One region, or all where none is named."""
    if request.name:
        state.shared_memory.unregister(request.name)
    else:
        state.shared_memory.unregister_all()
    return {}


# -- CUDA: clients ask for the status, and unregister all regions, whether they use any or not.


async def cuda_status(state: State, request: Any) -> Answer:
    if request.name:
        raise NotFound(f"There is no CUDA shared memory region {request.name!r}.")
    return {"regions": {}}


async def cuda_register(state: State, request: Any) -> Answer:
    raise Unsupported(
        f"CUDA shared memory region {request.name!r} is not registered: this server takes none. Use system "
        "shared memory, or raw_input_contents."
    )


async def cuda_unregister(state: State, request: Any) -> Answer:
    return {}
