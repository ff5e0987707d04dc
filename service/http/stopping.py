"""The answer to requests that are unfinished when a stop's drain time is over."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trtserve.errors import Unavailable, stopping
from trtserve.http import error_answers


def unfinished() -> Unavailable:
    return stopping(
        ", and the request did not finish within --drain-s (TRTSERVE_DRAIN_S). Send it again when the server "
        "is back, or to another server"
    )


class AnswerCancelled:
    """Wraps the application, and answers cancelled requests: only uvicorn cancels, after the drain time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:
            if started or scope["type"] != "http":
                raise
            await error_answers.answer(scope, unfinished())(scope, receive, send)
