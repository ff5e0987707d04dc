"""Reads the body of a request from its client, within bounds."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
from fastapi import Request
from starlette.types import Message, Receive

from runtime_ext import find_plain_strings
from trtserve.codec import json_cut
from trtserve.errors import BodyStalled, Cancelled, InvalidInput, TooLarge
from trtserve.http.content_coding import check_plain
from trtserve.inference.inflight import Share
from trtserve.inference.patience import LEAST_BYTES_S, Patience
from trtserve.services import services_for
from trtserve.streams import within
from trtserve.text import shown
from trtserve.workers import CODINGS

STEP_S = 1.0  # the longest single wait
LAST_LOOK_S = 0.01  # time for the loop to read what has already arrived


def declared(request: Request) -> int | None:
    """The Content-Length in bytes; None if the request has none."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


async def chunks(
    request: Request, what: str = "request", now: Callable[[], float] = time.monotonic
) -> AsyncIterator[bytes]:
    """The body in the pieces in which it arrives; `what` names it in error sentences.

    Raises Cancelled if the client leaves before its end, and BodyStalled if it arrives too slowly.
    """
    timeout_s = services_for(request).settings.body_timeout_s
    patience = Patience(timeout_s)
    more = True
    while more:
        message = await _next(request.receive, patience, now)  # the consumer's own time does not count
        if message is None:
            raise stalled(timeout_s, what)
        if message["type"] == "http.disconnect":
            raise Cancelled(f"The client left before the whole {what} had arrived.")
        more = message.get("more_body", False)
        if piece := message.get("body", b""):
            yield piece


async def _next(receive: Receive, patience: Patience, now: Callable[[], float]) -> Message | None:
    """The client's next message; None if it has no time left.

    A blocked loop has not read what arrived meanwhile, and runs its timers first: that is not the clients'
    fault. So each wait costs at most two steps, and what has arrived is read before a client is refused.
    """
    while patience.left > 0:
        begun = now()
        message = await _within(min(patience.left, STEP_S), receive)
        passed = min(now() - begun, 2 * STEP_S)
        if message is None and passed >= patience.left:
            await asyncio.sleep(LAST_LOOK_S)
            message = await _within(0, receive)
        in_time = patience.spend(passed, len(message.get("body", b"")) if message else 0)
        if message is not None and (in_time or not message.get("more_body", False)):
            return message
    return None


async def _within(seconds: float, receive: Receive) -> Message | None:
    """The message that arrives in time, or None; with 0, one that is there. A timeout loses no message."""
    try:
        async with asyncio.timeout(seconds):
            return await receive()
    except TimeoutError:
        return None


def stalled(seconds: float, what: str = "request") -> BodyStalled:
    """The error for a body that arrived too slowly for `seconds`; `what` names it in the sentence."""
    return BodyStalled(
        f"The {what} did not arrive whole, and too little of it arrived for {seconds:g} s: the minimum is "
        f"{LEAST_BYTES_S} bytes a second. Send it again without such a pause, or start the server with a "
        "longer --body-timeout-s (TRTSERVE_BODY_TIMEOUT_S)."
    )


async def joined(pieces: AsyncIterator[bytes], share: Share | None) -> memoryview:
    """The whole body; `share` grows with it. Raises Unavailable as soon as `share` cannot grow."""
    whole = bytearray()
    async for piece in pieces:
        if share is not None:
            share.grow_to(len(whole) + len(piece))
        whole += piece
    return memoryview(whole)


LARGEST = 65_536  # bytes, unless a route accepts more, for files in base64
LEAST_FILE = 4096  # characters of base64; a shorter file is parsed with the rest
TOO_LONG = (
    "The request's body has {size} bytes besides its files in base64; this server reads at most {most}."
)


async def json_object(
    request: Request, *, limit: int = LARGEST, share: Share | None = None, optional: bool = False
) -> dict[str, Any]:
    """The body as a JSON object; an empty body gives an empty object if it is `optional`.

    Raises InvalidInput, UnsupportedMedia, Cancelled; and, as soon as it is known, TooLarge beyond `limit`
    bytes and Unavailable beyond what `share` can get.
    """
    check_plain(request.headers)
    length = declared(request) or 0
    if length > limit:
        raise _too_large(limit)
    if share is not None:
        share.grow_to(length)
    received = await joined(within(chunks(request), limit, _too_large), share)
    if optional and not received:
        return {}
    try:
        given = orjson.loads(received) if limit <= LARGEST else await CODINGS.run(_without_files, received)
    except orjson.JSONDecodeError as failure:
        raise InvalidInput(f"The request's body is not JSON: {failure}.") from None
    if not isinstance(given, dict):
        raise InvalidInput(f"The request's body is {shown(given)}; it must be a JSON object.")
    return given


def _without_files(document: memoryview) -> Any:
    """The parsed document, in which long parameters that may be base64 are views on it.

    They are not parsed, and the rest has a bound. Raises orjson.JSONDecodeError and TooLarge.
    """
    spans = find_plain_strings(document, LEAST_FILE)
    given, found = json_cut.read(document, spans, "", TOO_LONG)
    files = {mark: document[begin:end] for mark, (begin, end) in found.items()}
    parameters = given.get("parameters") if isinstance(given, dict) else None
    if isinstance(parameters, dict):
        for name, value in parameters.items():
            if isinstance(value, str) and value in files:
                parameters[name] = files[value]
    return given


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request's body is over {limit} bytes, this server's limit for such a request.")
