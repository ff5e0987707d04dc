"""Inference: the long way, through the framework."""

import asyncio
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, Request, Response

from trtserve.codec import open_inference, safetensors
from trtserve.engines.demand import NotResident
from trtserve.errors import Cancelled, TooLarge
from trtserve.http import bodies
from trtserve.http.content_coding import compressed, decompressed
from trtserve.http.headers import TIMEOUT, read_headers
from trtserve.http.observing import observed_of
from trtserve.http.parts import PartsResponse
from trtserve.inference.call import RequestHead
from trtserve.services import services_for
from trtserve.streams import over_limit, within

if TYPE_CHECKING:
    from runtime_ext import Completion
    from trtserve.inference.inflight import Share

router = APIRouter(tags=["inference"])

T = TypeVar("T")

BINARY = {"schema": {"type": "string", "format": "binary"}}
EXAMPLE_TENSOR = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}
TENSORS = {"type": "array", "items": {"type": "object"}}
REQUEST_BODY = {
    "required": True,
    "description": "JSON of the Open Inference Protocol; or its binary form, with the header "
    f"`{open_inference.HEADER_LENGTH}`; or a safetensors file. It may be compressed, with "
    "`Content-Encoding: gzip` or `deflate`.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["inputs"], "properties": {"inputs": TENSORS}},
            "example": {"inputs": [EXAMPLE_TENSOR]},
        },
        "application/octet-stream": BINARY,
        safetensors.MEDIA_TYPE: BINARY,
    },
}
ANSWER = {
    "description": "The outputs, in the form that the request has or asks for.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "required": ["outputs"], "properties": {"outputs": TENSORS}},
            "example": {
                "model_name": "double",
                "model_version": "1",
                "outputs": [EXAMPLE_TENSOR | {"name": "y"}],
            },
        },
        "application/octet-stream": BINARY,
        safetensors.MEDIA_TYPE: BINARY,
    },
}
TIMEOUT_HEADER = {
    "name": TIMEOUT,
    "in": "header",
    "description": "Milliseconds in which the execution must have begun; 0: the server's limit. "
    "It wins over `parameters.timeout`.",
    "schema": {"type": "integer", "minimum": 0},
}


DESCRIBED: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: ANSWER},
    "openapi_extra": {"requestBody": REQUEST_BODY, "parameters": [TIMEOUT_HEADER]},
}


@router.post("/modules/{ref}/infer", **DESCRIBED)
async def infer_module(request: Request, ref: str) -> Response:
    """Run a module once, by its ID or by the name whose current version it is."""
    return await _infer(request, ref, None, of_model=False)


@router.post("/engines/{ref}/infer", **DESCRIBED)
async def infer(request: Request, ref: str) -> Response:
    """Run an engine once, by its ID or by the name whose current version it is."""
    return await _infer(request, ref, None, of_model=False)


@router.post("/v2/models/{name}/infer", **DESCRIBED)
async def infer_model(request: Request, name: str) -> Response:
    """Run the current version of a model, at the path of the Open Inference Protocol."""
    return await _infer(request, name, None, of_model=True)


@router.post("/v2/models/{name}/versions/{version}/infer", **DESCRIBED)
async def infer_model_version(request: Request, name: str, version: str) -> Response:
    """Run this version of a model, even if it is not the current one."""
    return await _infer(request, name, version, of_model=True)


async def _infer(request: Request, ref: str, version: str | None, *, of_model: bool) -> Response:
    services = services_for(request)
    inference = services.inference
    with suppress(NotResident):
        inference.ready(ref, version, of_model)  # before the body has come
    form = read_headers(request.headers)
    head = RequestHead.of(ref, version, form, of_model=of_model, shared=False)
    if form.coding is None:
        inference.check(head, bodies.declared(request) or 0)
    with ExitStack() as held:
        share = held.enter_context(services.inflight.share())
        content = await _body(request, services.settings.max_request_bytes, share, form.coding)
        ended: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()
        call = await inference.start_long(head, content, ended.set_result, share)
        try:
            completion = await _while_connected(request, ended)
        finally:
            inference.abandon(call)
        observed = observed_of(request.scope)
        if observed is not None:
            observed.completed(call, completion)
        parts, headers = await inference.answer_long(call, completion)
        if form.answer_coding is not None:
            answer, headers = await compressed(parts, headers, form.answer_coding)
            parts = [answer]
        elif completion.batch_requests > 1:  # a view would keep the outputs of all
            parts = [bytes(part) for part in parts]
        share.close()
        share.grow_to(sum(map(len, parts)))  # until the client has taken it
        return PartsResponse(parts, headers, held.pop_all())


async def _body(request: Request, limit: int, share: "Share", coding: str | None) -> memoryview:
    """The whole body, decompressed.

    Raises TooLarge or Unavailable as soon as it exceeds the limit or the share, compressed or not.
    """
    length = bodies.declared(request) or 0
    if length > limit:
        raise _too_large(limit)
    pieces = within(bodies.chunks(request), limit, _too_large)
    if coding is None:
        share.expect(length)
    else:
        pieces = within(decompressed(pieces, coding), limit, _too_large)
    return await bodies.joined(pieces, share)


async def _while_connected(request: Request, ended: asyncio.Future[T]) -> T:
    """The result of a request. Raises Cancelled if the client leaves first."""
    # The body has been read, so the next message of the connection is its end.
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((ended, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            raise Cancelled("The client left before the answer.")
        return ended.result()
    finally:
        leaving.cancel()


def _too_large(limit: int) -> TooLarge:
    return over_limit("The request's body is", limit, "max-request-bytes", ", compressed or not")
