"""Every gRPC method of the protocol except inference. Each returns what HTTP answers, as a dict."""

import asyncio
from typing import Any

from trtserve.engines import readiness
from trtserve.errors import NotFound, Unavailable
from trtserve.oip import describe, log_settings, no_cuda_regions, trace_settings
from trtserve.rpc.parameters import plain
from trtserve.services import Services

Answer = dict[str, Any]


async def server_live(services: Services, request: Any) -> Answer:
    return {"live": True}


async def server_ready(services: Services, request: Any) -> Answer:
    try:
        readiness.check_server(services.runtime, services.registry)
    except Unavailable:
        return {"ready": False}
    return {"ready": True}


async def server_metadata(services: Services, request: Any) -> Answer:
    return describe.server_metadata(
        services.settings.server_name, shared_memory=services.shared_memory.enabled
    )


async def model_ready(services: Services, request: Any) -> Answer:
    """An unknown model is not ready; over HTTP neither is a 200."""
    try:
        await services.models.ready(request.name, request.version or None)
    except (NotFound, Unavailable):
        return {"ready": False}
    return {"ready": True}


async def model_metadata(services: Services, request: Any) -> Answer:
    return await services.models.metadata(request.name, request.version or None)


async def model_config(services: Services, request: Any) -> Answer:
    return {"config": await services.models.config(request.name, request.version or None)}


async def model_statistics(services: Services, request: Any) -> Answer:
    """Of all models without a name, and of all versions without a version."""
    return await services.models.statistics(request.name or None, request.version or None)


async def repository_index(services: Services, request: Any) -> Answer:
    return {"models": await services.repository.index(request.ready)}


async def repository_load(services: Services, request: Any) -> Answer:
    """The content of a file is bytes, where JSON has base64."""
    await services.repository.load(request.model_name, plain(request.parameters))
    return {}


async def repository_unload(services: Services, request: Any) -> Answer:
    await services.repository.unload(request.model_name, plain(request.parameters))
    return {}


async def system_status(services: Services, request: Any) -> Answer:
    return {"regions": _by_name(services.shared_memory.status(request.name or None))}


async def system_register(services: Services, request: Any) -> Answer:
    await asyncio.to_thread(
        services.shared_memory.register, request.name, request.key, request.offset, request.byte_size
    )
    return {}


async def system_unregister(services: Services, request: Any) -> Answer:
    """One region, or all if none is named."""
    if request.name:
        services.shared_memory.unregister(request.name)
    else:
        services.shared_memory.unregister_all()
    return {}


# -- CUDA: there is none.


async def cuda_status(services: Services, request: Any) -> Answer:
    return {"regions": _by_name(no_cuda_regions.status(request.name))}


async def cuda_register(services: Services, request: Any) -> Answer:
    no_cuda_regions.register(request.name)


async def cuda_unregister(services: Services, request: Any) -> Answer:
    return {}


def _by_name(regions: list[Answer]) -> dict[str, Answer]:
    return {region["name"]: region for region in regions}


async def trace_setting(services: Services, request: Any) -> Answer:
    """The settings after the requested changes; a setting without a value is cleared."""
    if request.model_name:
        await services.models.check(request.model_name)
    asked = {name: list(setting.value) for name, setting in request.settings.items()}
    settings = trace_settings.update(asked)
    values = {name: value if isinstance(value, list) else [value] for name, value in settings.items()}
    return {"settings": {name: {"value": value} for name, value in values.items()}}


async def log_setting(services: Services, request: Any) -> Answer:
    """The settings after the requested changes."""
    asked = {}
    for name, setting in request.settings.items():
        choice = setting.WhichOneof("parameter_choice")
        asked[name] = getattr(setting, choice) if choice else None
    told = log_settings.update(asked) if asked else log_settings.log_settings()
    return {"settings": {name: _log_value(value) for name, value in told.items()}}


def _log_value(value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"bool_param": value}
    return {"uint32_param" if isinstance(value, int) else "string_param": value}
