"""A response that is sent in parts: joining a large one would block the event loop."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from trtserve.codec import Body

STEP_BYTES = 1_048_576  # handed over at once


class PartsResponse(Response):
    """Sends the parts; then, or when the client leaves, exits `held`, which accounts for their memory."""

    def __init__(
        self, parts: Sequence[Body], headers: Mapping[str, str], held: AbstractContextManager[Any]
    ) -> None:
        super().__init__(headers={**headers, "Content-Length": str(sum(map(len, parts)))})
        self._parts = parts
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            await self._send(send)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self._parts:
            view = memoryview(part)
            for begin in range(0, len(view), STEP_BYTES):
                piece = bytes(view[begin : begin + STEP_BYTES])
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
