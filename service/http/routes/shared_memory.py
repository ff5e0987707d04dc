"""Shared memory of the Open Inference Protocol: regions that tensors are read from and written to.

Registering opens files of this machine, so it runs in a thread. Names of regions may contain a /.
"""

import asyncio
from typing import Any

from fastapi import APIRouter, Request

from trtserve.http.bodies import json_object
from trtserve.oip import no_cuda_regions
from trtserve.services import services_for

router = APIRouter(tags=["shared memory"])

Status = list[dict[str, Any]]
REGISTER_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["key", "byte_size"],
                "properties": {
                    "key": {
                        "type": "string",
                        "description": "What shm_open(3) takes.",
                    },
                    "offset": {"type": "integer", "minimum": 0, "default": 0},
                    "byte_size": {"type": "integer", "minimum": 1},
                },
            },
            "example": {"key": "/input_0", "offset": 0, "byte_size": 4096},
        }
    },
}


@router.get("/v2/systemsharedmemory/status")
async def system_status(request: Request) -> Status:
    """All registered regions."""
    return services_for(request).shared_memory.status()


@router.get("/v2/systemsharedmemory/region/{name:path}/status")
async def system_region_status(request: Request, name: str) -> Status:
    """One region; 404 if it is not registered."""
    return services_for(request).shared_memory.status(name)


@router.post(
    "/v2/systemsharedmemory/region/{name:path}/register", openapi_extra={"requestBody": REGISTER_BODY}
)
async def system_register(request: Request, name: str) -> dict[str, Any]:
    """Register a part of a POSIX shared memory object; 501 unless the server's settings allow it."""
    asked = await json_object(request)
    key, offset, byte_size = asked.get("key"), asked.get("offset", 0), asked.get("byte_size")
    await asyncio.to_thread(services_for(request).shared_memory.register, name, key, offset, byte_size)
    return {}


@router.post("/v2/systemsharedmemory/unregister")
async def system_unregister_all(request: Request) -> dict[str, Any]:
    """Unregister all regions."""
    services_for(request).shared_memory.unregister_all()
    return {}


@router.post("/v2/systemsharedmemory/region/{name:path}/unregister")
async def system_unregister(request: Request, name: str) -> dict[str, Any]:
    """Unregister a region; it is no error if it is not registered."""
    services_for(request).shared_memory.unregister(name)
    return {}


# -- CUDA: there is none.


@router.get("/v2/cudasharedmemory/status")
async def cuda_status() -> Status:
    """None: regions in the memory of a GPU are not supported."""
    return no_cuda_regions.status(None)


@router.get("/v2/cudasharedmemory/region/{name:path}/status")
async def cuda_region_status(name: str) -> Status:
    """Always 404: regions in the memory of a GPU are not supported."""
    return no_cuda_regions.status(name)


@router.post("/v2/cudasharedmemory/region/{name:path}/register")
async def cuda_register(name: str) -> dict[str, Any]:
    """501: regions in the memory of a GPU are not supported."""
    no_cuda_regions.register(name)


@router.post("/v2/cudasharedmemory/unregister")
async def cuda_unregister_all() -> dict[str, Any]:
    """Succeeds: there is nothing to unregister."""
    return {}


@router.post("/v2/cudasharedmemory/region/{name:path}/unregister")
async def cuda_unregister(name: str) -> dict[str, Any]:
    """Succeeds: it is no error if a region is not registered."""
    return {}
