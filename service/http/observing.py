"""Observes the requests of the long way: all but those that the short way answers."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from trtserve.errors import HTTP_STATUS, Cancelled
from trtserve.telemetry.observed import SUCCESS, Observed
from trtserve.telemetry.observer import Observer

OBSERVED = "trtserve.observed"
"""Where a request's scope has it, if it is observed."""


def observed_of(scope: Scope) -> Observed | None:
    observed: Observed | None = scope.get(OBSERVED)
    return observed


class Observing:
    """Wraps the application, outside of all that answers."""

    def __init__(self, app: ASGIApp, observer: Callable[[], Observer | None]) -> None:
        """`observer` is asked for each request; None before the application has started."""
        self._app = app
        self._observer = observer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        observer = self._observer() if scope["type"] == "http" else None
        observed = None if observer is None else observer.begin_with(scope["headers"])
        if observed is None:
            await self._app(scope, receive, send)
            return
        target = scope.get("raw_path") or scope["path"].encode()
        observed.asks(scope["method"], target.decode("latin-1"), "", 0)
        scope[OBSERVED] = observed
        answer = _Answer(observed, receive, send)
        try:
            await self._app(scope, answer.receive, answer.send)
        except asyncio.CancelledError:
            answer.end(HTTP_STATUS[Cancelled.kind], Cancelled.kind)
            raise
        finally:
            observed.route = getattr(scope.get("route"), "path", "")
            answer.end(answer.status or HTTP_STATUS["ExecutionFailed"])


class _Answer:
    """Adds to an answer what its observed request tells, and notes its status and its size."""

    def __init__(self, observed: Observed, receive: Receive, send: Send) -> None:
        self._observed = observed
        self._receive = receive
        self._send = send
        self._sent = 0  # bytes
        self.status = 0
        self._failed = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._observed.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._failed = self.status >= HTTP_STATUS["InvalidInput"]
            told = [
                (name.encode(), value.encode()) for name, value in self._observed.headers(failed=self._failed)
            ]
            message = {**message, "headers": [*message["headers"], *told]}
        else:
            self._sent += len(message.get("body", b""))
        await self._send(message)

    def end(self, status: int, kind: str = "") -> None:
        failed = status >= HTTP_STATUS["InvalidInput"]
        self._observed.end(
            status, kind or self._observed.kind or (f"{status}" if failed else SUCCESS), self._sent
        )
