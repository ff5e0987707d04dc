"""Regions of shared memory that clients register. Those in a GPU's memory are not taken."""

import asyncio
from typing import Any

from starlette.datastructures import State

from trtserve.oip import no_cuda_regions

Answer = dict[str, Any]


async def system_status(state: State, request: Any) -> Answer:
    return {"regions": _by_name(state.shared_memory.status(request.name or None))}


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


# -- CUDA: there is none.


async def cuda_status(state: State, request: Any) -> Answer:
    return {"regions": _by_name(no_cuda_regions.status(request.name))}


async def cuda_register(state: State, request: Any) -> Answer:
    no_cuda_regions.register(request.name)


async def cuda_unregister(state: State, request: Any) -> Answer:
    return {}


def _by_name(regions: list[Answer]) -> dict[str, Answer]:
    return {region["name"]: region for region in regions}
