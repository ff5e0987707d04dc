"""Settings of a running server that the Open Inference Protocol has: tracing, and the log."""

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
    """Turn tracing off, which it is; 501 for what would turn it on."""
    return trace_settings.update(await json_object(request))


@router.get("/v2/models/{name}/trace/setting")
async def model_trace_setting(request: Request, name: str) -> Answer:
    """Tracing is off for every model."""
    services_for(request).models.check(name)
    return trace_settings.trace_settings()


@router.post("/v2/models/{name}/trace/setting", openapi_extra=TRACE_BODY)
async def update_model_trace_setting(request: Request, name: str) -> Answer:
    """Turn tracing of a model off, which it is; 501 for what would turn it on."""
    services_for(request).models.check(name)
    return trace_settings.update(await json_object(request))


@router.get("/v2/logging")
async def log_setting() -> Answer:
    """What the server logs."""
    return log_settings.log_settings()


@router.post("/v2/logging", openapi_extra=LOG_BODY)
async def update_log_setting(request: Request) -> Answer:
    """Change what the server logs, until it stops; 501 for what its log cannot do."""
    return log_settings.update(await json_object(request))
