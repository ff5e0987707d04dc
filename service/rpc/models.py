"""The server and its models, as gRPC asks for them: each is what HTTP answers, in a dict."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.datastructures import State

from trtserve.engines import readiness
from trtserve.errors import NotFound, Unavailable, unknown_model
from trtserve.oip import describe
from trtserve.oip.model_config import describe_config
from trtserve.oip.statistics import statistics

Answer = dict[str, Any]


async def server_live(state: State, request: Any) -> Answer:
    return {"live": True}


async def server_ready(state: State, request: Any) -> Answer:
    try:
        readiness.check_server(state.runtime, state.registry)
    except Unavailable:
        return {"ready": False}
    return {"ready": True}


async def server_metadata(state: State, request: Any) -> Answer:
    return describe.server_metadata(state.settings.server_name, shared_memory=state.shared_memory.enabled)


async def model_ready(state: State, request: Any) -> Answer:
    """As with HTTP, where neither is a 200, a model that is not there is not ready."""
    try:
        readiness.check_model(state.runtime, state.registry, request.name, request.version or None)
    except (NotFound, Unavailable):
        return {"ready": False}
    return {"ready": True}


def of_model(tell: Callable[[State, Any], Answer]) -> Callable[[State, Any], Awaitable[Answer]]:
    """Tells of a model in a call; one that is not there is told in the words that clients look for."""

    async def told(state: State, request: Any) -> Answer:
        try:
            return tell(state, request)
        except NotFound as missing:
            raise unknown_model(missing) from None

    return told


@of_model
def model_metadata(state: State, request: Any) -> Answer:
    resolved = state.registry.ready(request.name, request.version or None)
    return describe.metadata(resolved, describe.versions(state.registry, resolved))


@of_model
def model_config(state: State, request: Any) -> Answer:
    resolved = state.registry.ready(request.name, request.version or None)
    return {"config": describe_config(resolved, describe.versions(state.registry, resolved))}


@of_model
def model_statistics(state: State, request: Any) -> Answer:
    """Of all models where no name is given, and of all versions where none is."""
    return statistics(state.registry, state.runtime, request.name or None, request.version or None)
