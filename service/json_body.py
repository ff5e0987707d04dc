"""JSON bodies of requests, whatever Content-Type they come with: clients of the protocol send none."""

from typing import Any

import orjson
from fastapi import Request
from starlette.requests import ClientDisconnect

from service import codec
from service.codec.shown import shown
from service.errors import Cancelled, InvalidInput, TooLarge
from service.inflight import Share

LARGEST = 65_536  # bytes, unless a route takes more


async def json_object(
    request: Request, *, limit: int = LARGEST, share: Share | None = None, optional: bool = False
) -> dict[str, Any]:
    """The body, which is a JSON object, or may be empty where it is optional.

    Raises InvalidInput, Unsupported, Cancelled; TooLarge beyond `limit` bytes, and Unavailable beyond what
    the share can get, as soon as either is known.
    """
    codec.check_encoding(request.headers)
    declared = request.headers.get("content-length", "")
    if declared.isdecimal():
        _count(int(declared), limit, share)
    chunks: list[bytes] = []
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            _count(received, limit, share)
            chunks.append(chunk)
    except ClientDisconnect:
        raise Cancelled("The client left before the request had come whole.") from None
    if optional and not received:
        return {}
    try:
        given = orjson.loads(b"".join(chunks))
    except orjson.JSONDecodeError as failure:
        raise InvalidInput(f"The request's body is no JSON: {failure}.") from None
    if not isinstance(given, dict):
        raise InvalidInput(f"The request's body is {shown(given)}; it is a JSON object.")
    return given


def _count(size: int, limit: int, share: Share | None) -> None:
    if size > limit:
        raise TooLarge(f"The request's body is over {limit} bytes, the most that such a request takes here.")
    if share is not None:
        share.grow_to(size)
