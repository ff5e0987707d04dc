"""A response that is sent in parts: nobody joins a large one, which would hold up the event loop."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from trtserve.codec import Body

STEP_BYTES = 1_048_576  # that are handed over at once


class PartsResponse(Response):
    """Ends `held`, which holds what the parts take, when it has been sent or its client has left."""

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
