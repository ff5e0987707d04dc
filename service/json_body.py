"""JSON bodies of requests, whatever Content-Type they come with: clients of the protocol send none."""

from typing import Any

import orjson
from fastapi import Request

from service import body
from service.codec import compression
from service.codec.shown import shown
from service.errors import InvalidInput, TooLarge
from service.inflight import Share

LARGEST = 65_536  # bytes, unless a route takes more


async def json_object(
    request: Request, *, limit: int = LARGEST, share: Share | None = None, optional: bool = False
) -> dict[str, Any]:
    """The body, which is a JSON object, or may be empty where it is optional.

    Raises InvalidInput, Unsupported, Cancelled; TooLarge beyond `limit` bytes, and Unavailable beyond what
    the share can get, as soon as either is known.
    """
    compression.check_plain(request.headers)
    length = body.declared(request) or 0
    if length > limit:
        raise _too_large(limit)
    if share is not None:
        share.grow_to(length)
    received = await body.joined(body.within(body.chunks(request), limit, _too_large), share)
    if optional and not received:
        return {}
    try:
        given = orjson.loads(received)
    except orjson.JSONDecodeError as failure:
        raise InvalidInput(f"The request's body is no JSON: {failure}.") from None
    if not isinstance(given, dict):
        raise InvalidInput(f"The request's body is {shown(given)}; it is a JSON object.")
    return given


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request's body is over {limit} bytes, the most that such a request takes here.")
