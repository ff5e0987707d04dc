"""The repository extension of the Open Inference Protocol: list models, load and unload them."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from trtserve.errors import InvalidInput
from trtserve.http.bodies import json_object
from trtserve.services import services_for
from trtserve.text import shown

router = APIRouter(tags=["repository"])

BESIDE_THE_PLANS = 1024**2  # bytes of a load's body: a config, and the names of its files


def _body(properties: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": False, "content": content}}


PARAMETERS = {"parameters": {"type": "object"}}


@router.post("/v2/repository/index", openapi_extra=_body({"ready": {"type": "boolean"}}, {"ready": True}))
async def index(request: Request) -> list[dict[str, str]]:
    """All versions of all models with their states, or with `ready` those that can be run now."""
    asked = await json_object(request, optional=True)
    ready = asked.get("ready", False)
    if not isinstance(ready, bool):
        raise InvalidInput(f"The field 'ready' is {shown(ready)}; it is true or false.")
    return await services_for(request).repository.index(ready)


@router.post(
    "/v2/repository/models/{name}/load",
    openapi_extra=_body(PARAMETERS, {"parameters": {"file:1/model.onnx": "CAoSB3B5dG9yY2g="}}),
)
async def load(request: Request, name: str) -> dict[str, str]:
    """Load all versions of a model again, or plans sent in base64 as versions of it.

    The answer comes when they are READY, or failed to load.
    """
    services = services_for(request)
    with services.inflight.share() as share:
        limit = (services.settings.max_plan_bytes + 2) // 3 * 4 + BESIDE_THE_PLANS
        parameters = _parameters(await json_object(request, limit=limit, share=share, optional=True))
        await services.repository.load(name, parameters)
    return {}


@router.post(
    "/v2/repository/models/{name}/unload",
    openapi_extra=_body(PARAMETERS, {"parameters": {"unload_dependents": False}}),
)
async def unload(request: Request, name: str) -> dict[str, str]:
    """Unload all versions of a model, and keep them on disk; accepted requests get the drain time."""
    parameters = _parameters(await json_object(request, optional=True))
    await services_for(request).repository.unload(name, parameters)
    return {}


def _parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    parameters = body.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidInput(f"The field 'parameters' is {shown(parameters)}; it is a JSON object.")
    return parameters
