"""Settings of a running server in the Open Inference Protocol: tracing, and the log."""

from typing import Any

from fastapi import APIRouter, Request

from trtserve.http.bodies import json_object
from trtserve.oip import log_settings, trace_settings
from trtserve.services import services_for

router = APIRouter(tags=["server"])

Answer = dict[str, Any]


def _body(example: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


TRACE_BODY = _body({"trace_level": ["OFF"]})
LOG_BODY = _body({"log_verbose_level": 1})


@router.get("/v2/trace/setting")
async def trace_setting() -> Answer:
    """Tracing is off."""
    return trace_settings.trace_settings()


@router.post("/v2/trace/setting", openapi_extra=TRACE_BODY)
async def update_trace_setting(request: Request) -> Answer:
    """Accept settings that leave tracing off; 501 for a setting that would turn it on."""
    return trace_settings.update(await json_object(request))


@router.get("/v2/models/{name}/trace/setting")
async def model_trace_setting(request: Request, name: str) -> Answer:
    """Tracing is off for every model."""
    await services_for(request).models.check(name)
    return trace_settings.trace_settings()


@router.post("/v2/models/{name}/trace/setting", openapi_extra=TRACE_BODY)
async def update_model_trace_setting(request: Request, name: str) -> Answer:
    """Accept settings that leave tracing of a model off; 501 for a setting that would turn it on."""
    await services_for(request).models.check(name)
    return trace_settings.update(await json_object(request))


@router.get("/v2/logging")
async def log_setting() -> Answer:
    """What the server logs."""
    return log_settings.log_settings()


@router.post("/v2/logging", openapi_extra=LOG_BODY)
async def update_log_setting(request: Request) -> Answer:
    """Change what the server logs, until it stops; 501 for a setting that its log does not support."""
    return log_settings.update(await json_object(request))
