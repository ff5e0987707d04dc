"""The Open Inference Protocol but for inference: the server, its models, what they are and have done.

`/v2/models/stats` is the statistics of all models, so it comes before `/v2/models/{name}`. A model that is
called "stats" is told of at `/v2/models/stats/versions/{version}`; all else of it is where any model has it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.datastructures import State

from trtserve.engines import readiness
from trtserve.errors import NotFound, unknown_model
from trtserve.oip import describe
from trtserve.oip.model_config import describe_config
from trtserve.oip.statistics import statistics

if TYPE_CHECKING:
    from runtime_ext import Runtime
    from trtserve.engines.registry import Registry
    from trtserve.inference.shared_memory import SharedMemory
    from trtserve.settings import Settings

router = APIRouter(tags=["models"])

Answer = dict[str, Any]


@router.get("/v2")
async def server_metadata(request: Request) -> Answer:
    """The name and version of this server, and the extensions of the protocol that it has."""
    shared_memory: SharedMemory = request.app.state.shared_memory
    settings: Settings = request.app.state.settings
    return describe.server_metadata(settings.server_name, shared_memory=shared_memory.enabled)


@router.get("/v2/health/live")
async def server_live() -> Answer:
    """200 for as long as the process answers at all."""
    return {"live": True}


@router.get("/v2/health/ready")
async def server_ready(request: Request) -> Answer:
    """200 and 503 as `/health/ready`."""
    readiness.check_server(request.app.state.runtime, request.app.state.registry)
    return {"ready": True}


@router.get("/v2/models/stats")
async def all_statistics(request: Request) -> Answer:
    """The statistics of every version of every model that is loaded."""
    return statistics(request.app.state.registry, request.app.state.runtime, None, None)


def of_model(part: str) -> Callable[[Callable[[State, str, str | None], Answer]], None]:
    """Serves what a function tells of a model, for its current version and for any."""

    def serve(tell: Callable[[State, str, str | None], Answer]) -> None:
        def told(request: Request, name: str, version: str | None) -> Answer:
            try:
                return tell(request.app.state, name, version)
            except NotFound as missing:
                raise unknown_model(missing) from None

        what = tell.__name__.replace("_", " ").capitalize()

        @router.get(f"/v2/models/{{name}}{part}", summary=what, description=tell.__doc__)
        async def current(request: Request, name: str) -> Answer:
            return told(request, name, None)

        @router.get(
            f"/v2/models/{{name}}/versions/{{version}}{part}",
            summary=f"{what} of one version",
            description=tell.__doc__,
        )
        async def of_version(request: Request, name: str, version: str) -> Answer:
            return told(request, name, version)

    return serve


@of_model("")
def model_metadata(state: State, name: str, version: str | None) -> Answer:
    """Versions, inputs and outputs of a model. Shapes are whole; -1 is a dynamic dimension."""
    registry: Registry = state.registry
    resolved = registry.ready(name, version)
    return describe.metadata(resolved, describe.versions(registry, resolved))


@of_model("/ready")
def model_ready(state: State, name: str, version: str | None) -> Answer:
    """200 if the model takes requests; else 503 with the reason, or 404."""
    runtime: Runtime = state.runtime
    resolved = readiness.check_model(runtime, state.registry, name, version)
    return {"name": resolved.model_name, "ready": True}


@of_model("/config")
def model_config(state: State, name: str, version: str | None) -> Answer:
    """The model in the words of Triton's model configuration."""
    registry: Registry = state.registry
    resolved = registry.ready(name, version)
    return describe_config(resolved, describe.versions(registry, resolved))


@of_model("/stats")
def model_statistics(state: State, name: str, version: str | None) -> Answer:
    """What the model has done since it was loaded: of all its versions, where none is named."""
    return statistics(state.registry, state.runtime, name, version)
