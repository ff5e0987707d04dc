"""JSON bodies of requests, whatever Content-Type they come with: clients of the protocol send none."""

from typing import Any

import orjson
from fastapi import Request

from runtime_ext import find_plain_strings
from service import body
from service.codec import compression, cut_json
from service.codec.shown import shown
from service.errors import InvalidInput, TooLarge
from service.inflight import Share
from service.workers import CODINGS

LARGEST = 65_536  # bytes, unless a route takes more: files in base64
LEAST_FILE = 4096  # characters of base64 that are not read with the rest
TOO_LONG = (
    "The request's body has {size} bytes besides its files in base64; this server reads at most {most}."
)


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
        given = orjson.loads(received) if limit <= LARGEST else await CODINGS.run(_without_files, received)
    except orjson.JSONDecodeError as failure:
        raise InvalidInput(f"The request's body is no JSON: {failure}.") from None
    if not isinstance(given, dict):
        raise InvalidInput(f"The request's body is {shown(given)}; it is a JSON object.")
    return given


def _without_files(document: memoryview) -> Any:
    """What is in the document, where the parameters that are long and may be base64 are views on it.

    To read one of these takes no time; what is left has a bound. Raises orjson.JSONDecodeError and TooLarge.
    """
    spans = find_plain_strings(document, LEAST_FILE)
    given, found = cut_json.read(document, spans, "", TOO_LONG)
    files = {mark: document[begin:end] for mark, (begin, end) in found.items()}
    parameters = given.get("parameters") if isinstance(given, dict) else None
    if isinstance(parameters, dict):
        for name, value in parameters.items():
            if isinstance(value, str) and value in files:
                parameters[name] = files[value]
    return given


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request's body is over {limit} bytes, the most that such a request takes here.")
