"""Errors as answers: `{"error": sentence, "code": KIND}`, whoever raised them."""

import logging
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from runtime_ext import Error
from trtserve.errors import HTTP_STATUS, BodyStalled, Forbidden, TrtserveError, UnsupportedMedia
from trtserve.failures import tell
from trtserve.http.methods import allowed
from trtserve.http.upload_query import UploadQuery
from trtserve.shortage import shortage_behind
from trtserve.text import sentence

logger = logging.getLogger(__name__)


class Problem(BaseModel):
    error: str = Field(description="A sentence for the person who reads it.")
    code: str = Field(description="The kind of error, for programs.", examples=sorted(HTTP_STATUS))


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": kind} for kind, status in HTTP_STATUS.items()
}
RESPONSES[BodyStalled.status] = {"model": Problem, "description": f"{BodyStalled.kind} of its body"}
RESPONSES[Forbidden.status] = {
    "model": Problem,
    "description": f"{Forbidden.kind} by the page or the host that it names",
}
RESPONSES[UnsupportedMedia.status] = {
    "model": Problem,
    "description": f"{UnsupportedMedia.kind} by its type or coding",
}
# Where there is a default, FastAPI does not document the 422 that it would answer without install().
RESPONSES["default"] = {"model": Problem, "description": "Any other error, in the same form"}


def install(app: FastAPI) -> None:
    """Make every error of the application an answer of this form."""
    app.add_exception_handler(TrtserveError, _known)
    app.add_exception_handler(Error, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for short in (OSError, MemoryError, RuntimeError):
        app.add_exception_handler(short, _short)
    app.add_exception_handler(Exception, _unexpected)


def render(error: Exception) -> tuple[int, str, dict[str, str], bytes]:
    """An error as an answer: its status, its kind, the answer's headers and its body."""
    kind, text, retry_after = tell(error)
    headers = {"content-type": "application/json"}
    if retry_after is not None:
        headers["retry-after"] = str(retry_after)
    status = getattr(error, "status", None) or HTTP_STATUS[kind]
    return status, kind, headers, orjson.dumps({"error": text, "code": kind})


def answer(app: FastAPI, error: Exception) -> Response:
    """The answer to a request of this application's, counted."""
    status, kind, headers, body = render(error)
    app.state.metrics.errors.labels(kind).inc()
    if isinstance(error, BodyStalled):  # what may come of it still is nobody's
        headers["connection"] = "close"
    return Response(body, status, headers)


def _answer(request: Request, status: int, code: str, message: str) -> JSONResponse:
    request.app.state.metrics.errors.labels(code).inc()
    return JSONResponse({"error": sentence(message), "code": code}, status)


async def _known(request: Request, error: Exception) -> Response:
    """TrtserveError from here, Error from C++: both have a kind."""
    return answer(request.app, error)


async def _short(request: Request, error: Exception) -> Response:
    """What may be a shortage, and is as unexpected as any other where it is none."""
    if shortage_behind(error) is None:
        raise error
    logger.warning("%s %s: %r", request.method, request.url.path, error)
    return answer(request.app, error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    """A query that FastAPI refused: the first fault, in words."""
    assert isinstance(error, RequestValidationError)
    fault = error.errors()[0]
    where = ".".join(str(part) for part in fault["loc"][1:]) or "body"
    if fault["type"] == "extra_forbidden":
        allowed = ", ".join(UploadQuery.model_fields)
        message = f"There is no {fault['loc'][0]} parameter {where!r}; there are: {allowed}"
    else:
        message = f"The {fault['loc'][0]} parameter {where!r} is {fault.get('input')!r}: {fault['msg']}"
    return _answer(request, 400, "InvalidInput", message)


async def _http(request: Request, error: Exception) -> JSONResponse:
    """What routing refuses: an address or a method that there is not."""
    assert isinstance(error, HTTPException)
    path, method = request.url.path, request.method
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
        # What routing itself names is the first route's.
        refusal.headers["allow"] = ", ".join(allowed(request.app.routes, request.scope))
    return refusal


async def _unexpected(request: Request, error: Exception) -> Response:
    # Without the traceback: Starlette raises the error again, and uvicorn logs it.
    logger.error("%s %s failed: %r", request.method, request.url.path, error)
    return await _known(request, error)
