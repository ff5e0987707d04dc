"""The Open Inference Protocol except inference: the server, its models, their metadata and statistics.

`/v2/models/stats` is the statistics of all models, so it comes before `/v2/models/{name}`. The metadata of a
model called "stats" is at `/v2/models/stats/versions/{version}`; the rest is where any model has it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request

from trtserve.engines import readiness
from trtserve.oip import describe
from trtserve.oip.models import Models
from trtserve.services import services_for

router = APIRouter(tags=["models"])

Answer = dict[str, Any]


@router.get("/v2")
async def server_metadata(request: Request) -> Answer:
    """The name and version of this server, and the protocol extensions that it supports."""
    services = services_for(request)
    name, shared_memory = services.settings.server_name, services.shared_memory.enabled
    return describe.server_metadata(name, shared_memory=shared_memory)


@router.get("/v2/health/live")
async def server_live() -> Answer:
    """200 while the process answers."""
    return {"live": True}


@router.get("/v2/health/ready")
async def server_ready(request: Request) -> Answer:
    """200 or 503, like `/health/ready`."""
    services = services_for(request)
    readiness.check_server(services.runtime, services.registry)
    return {"ready": True}


@router.get("/v2/models/stats")
async def all_statistics(request: Request) -> Answer:
    """The statistics of every version of every model that is loaded."""
    return await services_for(request).models.statistics(None, None)


def _serve(part: str, tell: Callable[[Models, str, str | None], Awaitable[Answer]]) -> None:
    """Serve a question about a model, for its current version and for any version."""
    what = f"Model {tell.__name__}"

    @router.get(f"/v2/models/{{name}}{part}", summary=what, description=tell.__doc__)
    async def current(request: Request, name: str) -> Answer:
        return await tell(services_for(request).models, name, None)

    @router.get(
        f"/v2/models/{{name}}/versions/{{version}}{part}",
        summary=f"{what} of one version",
        description=tell.__doc__,
    )
    async def of_version(request: Request, name: str, version: str) -> Answer:
        return await tell(services_for(request).models, name, version)


_serve("", Models.metadata)
_serve("/ready", Models.ready)
_serve("/config", Models.config)
_serve("/stats", Models.statistics)
