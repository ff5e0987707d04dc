"""Every method of the protocol but inference, as gRPC asks for it: each answers what HTTP does, in a dict."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.datastructures import State

from trtserve.engines import readiness
from trtserve.errors import NotFound, Unavailable, unknown_model
from trtserve.oip import describe, log_settings, no_cuda_regions, repository, trace_settings
from trtserve.oip.model_config import describe_config
from trtserve.oip.statistics import statistics
from trtserve.rpc.parameters import plain

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


async def repository_index(state: State, request: Any) -> Answer:
    return {"models": repository.index(state.registry, request.ready)}


async def repository_load(state: State, request: Any) -> Answer:
    """The content of a file comes as bytes, where JSON has base64."""
    await state.repository.load(request.model_name, plain(request.parameters))
    return {}


async def repository_unload(state: State, request: Any) -> Answer:
    await state.repository.unload(request.model_name, plain(request.parameters))
    return {}


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


async def trace_setting(state: State, request: Any) -> Answer:
    """The settings, after those that are asked for were taken; one with no value is cleared."""
    if request.model_name:
        try:
            state.registry.resolve(request.model_name)
        except NotFound as missing:
            raise unknown_model(missing) from None
    asked = {name: list(setting.value) for name, setting in request.settings.items()}
    settings = trace_settings.update(asked) if asked else trace_settings.trace_settings()
    values = {name: value if isinstance(value, list) else [value] for name, value in settings.items()}
    return {"settings": {name: {"value": value} for name, value in values.items()}}


async def log_setting(state: State, request: Any) -> Answer:
    """The settings, after those that are asked for were taken."""
    asked = {}
    for name, setting in request.settings.items():
        choice = setting.WhichOneof("parameter_choice")
        asked[name] = getattr(setting, choice) if choice else None
    settings = log_settings.update(asked) if asked else log_settings.log_settings()
    return {"settings": {name: _log_value(value) for name, value in settings.items()}}


def _log_value(value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"bool_param": value}
    return {"uint32_param" if isinstance(value, int) else "string_param": value}
