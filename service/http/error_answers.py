"""Answers every error, from Python or C++, with `{"error": sentence, "code": KIND}`."""

import logging
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import Scope

from runtime_ext import Error
from trtserve.errors import (
    HTTP_STATUS,
    BodyStalled,
    Forbidden,
    TrtserveError,
    Unauthenticated,
    UnsupportedMedia,
)
from trtserve.failures import tell
from trtserve.http.methods import allowed
from trtserve.http.observing import observed_of
from trtserve.http.upload_query import UploadQuery
from trtserve.services import services_of
from trtserve.shortage import shortage_behind
from trtserve.text import cut, sentence, shown

logger = logging.getLogger(__name__)


class Problem(BaseModel):
    error: str = Field(description="A sentence for the person who reads it.")
    code: str = Field(description="The kind of error, for programs.", examples=sorted(HTTP_STATUS))


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": kind} for kind, status in HTTP_STATUS.items()
}
RESPONSES[BodyStalled.status] = {"model": Problem, "description": f"{BodyStalled.kind}: its body stalled"}
RESPONSES[Forbidden.status] = {
    "model": Problem,
    "description": f"{Forbidden.kind}: its token, page or host is not allowed this",
}
RESPONSES[Unauthenticated.status] = {
    "model": Problem,
    "description": f"{Unauthenticated.kind}: it has no token that this server knows",
}
RESPONSES[UnsupportedMedia.status] = {
    "model": Problem,
    "description": f"{UnsupportedMedia.kind}: its type or coding is not supported",
}
# With a default, FastAPI does not document the 422 that it would answer without install().
RESPONSES["default"] = {"model": Problem, "description": "Any other error, in the same form"}


def install(app: FastAPI) -> None:
    """Answer every error of the application in this form."""
    app.add_exception_handler(TrtserveError, _known)
    app.add_exception_handler(Error, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for short in (OSError, MemoryError, RuntimeError):
        app.add_exception_handler(short, _short)
    app.add_exception_handler(Exception, _unexpected)


def render(error: Exception) -> tuple[int, str, dict[str, str], bytes]:
    """The answer to an error: status, kind, headers and body."""
    told = tell(error)
    headers = {"content-type": "application/json"}
    if told.retry_after is not None:
        headers["retry-after"] = str(told.retry_after)
    if told.challenge is not None:
        headers["www-authenticate"] = told.challenge
    body = orjson.dumps({"error": told.sentence, "code": told.kind})
    return told.status or HTTP_STATUS[told.kind], told.kind, headers, body


def answer(scope: Scope, error: Exception) -> Response:
    """The answer to an error in a request with this scope, counted in the metrics of its application."""
    status, kind, headers, body = render(error)
    _count(scope, kind)
    if isinstance(error, BodyStalled):  # more of the body may still arrive
        headers["connection"] = "close"
    return Response(body, status, headers)


def _count(scope: Scope, kind: str) -> None:
    services_of(scope["app"]).metrics.errors.labels(kind).inc()
    observed = observed_of(scope)
    if observed is not None:
        observed.kind = kind


def _answer(request: Request, status: int, code: str, message: str) -> JSONResponse:
    _count(request.scope, code)
    return JSONResponse({"error": sentence(message), "code": code}, status)


async def _known(request: Request, error: Exception) -> Response:
    """Answer a TrtserveError, or an Error from C++: both have a kind."""
    return answer(request.scope, error)


async def _short(request: Request, error: Exception) -> Response:
    """Answer an error that may be a shortage; raise it again if it is not."""
    if shortage_behind(error) is None:
        raise error
    logger.warning("%s %s: %r", request.method, request.url.path, error)
    return answer(request.scope, error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """Answer a query that FastAPI refused, with its first fault."""
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"][1:]) or "body"
    if fault["type"] == "extra_forbidden":
        allowed = ", ".join(UploadQuery.model_fields)
        message = f"There is no {fault['loc'][0]} parameter {shown(where)}; there are: {allowed}"
    else:
        message = f"The {fault['loc'][0]} parameter {where!r} is {shown(fault.get('input'))}: {fault['msg']}"
    return _answer(request, 400, "InvalidInput", message)


async def _http(request: Request, error: Exception) -> JSONResponse:
    """Answer what routing refuses: an unknown address, or a method that it lacks."""
    assert isinstance(error, HTTPException)
    path, method = cut(request.url.path), request.method
    if error.status_code == 404:
        return _answer(request, 404, "NotFound", f"There is nothing at {path}; /docs lists what there is.")
    refusal = _answer(
        request,
        error.status_code,
        "InvalidInput",
        f"{error.detail}: {method} {path}; /docs lists what there is.",
    )
    refusal.headers.update(error.headers or {})
    if error.status_code == 405:
        # Starlette itself lists only the first route's methods.
        refusal.headers["allow"] = ", ".join(allowed(request.app.routes, request.scope))
    return refusal


async def _unexpected(request: Request, error: Exception) -> Response:
    # Without the traceback: Starlette raises the error again, and uvicorn logs that.
    logger.error("%s %s failed: %r", request.method, request.url.path, error)
    return await _known(request, error)
