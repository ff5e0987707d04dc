"""The body of a request as it comes from its client, within bounds."""

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

STEP_S = 1.0  # of a wait
LAST_LOOK_S = 0.01  # in which the loop reads what is there


def declared(request: Request) -> int | None:
    """The length in bytes that the headers say; None where they do not."""
    length = request.headers.get("content-length", "")
    return int(length) if length.isdecimal() else None


async def chunks(
    request: Request, what: str = "request", now: Callable[[], float] = time.monotonic
) -> AsyncIterator[bytes]:
    """The body in the pieces that it comes in.

    Cancelled where the client leaves before its end, BodyStalled where it comes too slowly.
    """
    timeout_s = services_for(request).settings.body_timeout_s
    patience = Patience(timeout_s)
    more = True
    while more:
        message = await _next(request.receive, patience, now)  # no time of who reads the pieces counts
        if message is None:
            raise stalled(timeout_s, what)
        if message["type"] == "http.disconnect":
            raise Cancelled(f"The client left before the {what} had come whole.")
        more = message.get("more_body", False)
        if piece := message.get("body", b""):
            yield piece


async def _next(receive: Receive, patience: Patience, now: Callable[[], float]) -> Message | None:
    """What comes next from the client; None where it has no time left.

    A loop that was held up has not read what came meanwhile, and runs its timers first: that is not its
    clients' fault. So each wait costs two steps at most, and what is there is read before any is refused.
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
    """What comes within so long; with 0, what is there. A server keeps what it did not get to hand out."""
    try:
        async with asyncio.timeout(seconds):
            return await receive()
    except TimeoutError:
        return None


def stalled(seconds: float, what: str = "request") -> BodyStalled:
    """What a body is refused with that came too slowly for so long."""
    return BodyStalled(
        f"The {what} had not come whole, and too little of it came for {seconds:g} s: {LEAST_BYTES_S} bytes "
        "a second are the least. Send it again without such a pause, or start the server with a longer "
        "--body-timeout-s (TRTSERVE_BODY_TIMEOUT_S)."
    )


async def joined(pieces: AsyncIterator[bytes], share: Share | None) -> memoryview:
    """The whole of a body, which `share` grows with; Unavailable as soon as it cannot."""
    whole = bytearray()
    async for piece in pieces:
        if share is not None:
            share.grow_to(len(whole) + len(piece))
        whole += piece
    return memoryview(whole)


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
        raise InvalidInput(f"The request's body is no JSON: {failure}.") from None
    if not isinstance(given, dict):
        raise InvalidInput(f"The request's body is {shown(given)}; it is a JSON object.")
    return given


def _without_files(document: memoryview) -> Any:
    """What is in the document, where the parameters that are long and may be base64 are views on it.

    To read one of these takes no time; what is left has a bound. Raises orjson.JSONDecodeError and TooLarge.
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
    return TooLarge(f"The request's body is over {limit} bytes, the most that such a request takes here.")
