"""Inference: the one route that every request of the product takes."""

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from service import codec
from service.codec import protocol, safetensors
from service.errors import Cancelled, TooLarge

if TYPE_CHECKING:
    from service.completions import Completions
    from service.inflight import InflightBytes, Share
    from service.registry import Registry
    from service.settings import Settings

router = APIRouter(tags=["inference"])

T = TypeVar("T")

BINARY = {"schema": {"type": "string", "format": "binary"}}
EXAMPLE_TENSOR = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}
TENSORS = {"type": "array", "items": {"type": "object"}}
REQUEST_BODY = {
    "required": True,
    "description": "JSON of the Open Inference Protocol; or its binary form, with the header "
    f"`{protocol.HEADER_LENGTH}`; or a safetensors file.",
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
    "name": codec.TIMEOUT,
    "in": "header",
    "description": "Milliseconds in which the execution must have begun; 0: the server's limit. "
    "It wins over `parameters.timeout`.",
    "schema": {"type": "integer", "minimum": 0},
}


@router.post(
    "/engines/{ref}/infer",
    response_class=Response,
    responses={200: ANSWER},
    openapi_extra={"requestBody": REQUEST_BODY, "parameters": [TIMEOUT_HEADER]},
)
async def infer(request: Request, ref: str) -> Response:
    """Run an engine once, by its ID or by the name whose current version it is."""
    registry: Registry = request.app.state.registry
    completions: Completions = request.app.state.completions
    settings: Settings = request.app.state.settings
    inflight: InflightBytes = request.app.state.inflight

    engine, name, version = registry.ready(ref)
    assert engine.info is not None, "a READY engine has been loaded"
    with inflight.share() as share:
        asked = codec.decode(request.headers, await _body(request, settings.max_request_bytes, share))
        selected = codec.select(asked, engine.info.outputs)
        timeout_ns = asked.timeout_ns
        if timeout_ns is None and settings.request_timeout_s is not None:
            timeout_ns = int(min(settings.request_timeout_s * 1e9, codec.LONGEST_NS))
        completion = await _while_connected(request, completions.run(engine.id, asked.inputs, timeout_ns))
        body, headers = codec.encode(
            asked,
            completion.outputs,
            selected,
            model_name=name or str(engine.id),
            model_version=str(version or 1),
        )
        return Response(body, headers=headers)


async def _body(request: Request, limit: int, share: "Share") -> bytes:
    """The whole body; TooLarge or Unavailable as soon as it is known to be over the limit or the share."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        if int(declared) > limit:
            raise _too_large(limit)
        share.grow_to(int(declared))
    chunks: list[bytes] = []  # joined and dropped at the end: only there, and of one body at a time, twice
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > limit:
                raise _too_large(limit)
            share.grow_to(received)
            chunks.append(chunk)
    except ClientDisconnect:
        raise Cancelled("The client left before the request had come whole.") from None
    return b"".join(chunks)


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work, which is cancelled when the client leaves."""
    working = asyncio.ensure_future(work)
    # The body has been read, so the next message of the connection is its end.
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Cancelled("The client left before the answer.")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The request's body is over this server's limit of {limit} bytes: "
        "start it with a higher --max-request-bytes (TRTSERVE_MAX_REQUEST_BYTES)."
    )
