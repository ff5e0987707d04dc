"""HTTP for clients that close their side of a connection once they have sent their requests.

They get their answers, and then the connection ends. On the wire such a client looks like one that has left
altogether: both send a FIN. So until the answer is ready, the server probes now and then with an interim
answer, `100 Continue`, which clients of HTTP/1.1 skip (RFC 9110, 15.2): the system of a client that has left
responds with a reset, and its request is cancelled.
"""

import logging
from typing import TYPE_CHECKING, Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from trtserve.errors import TrtserveError
from trtserve.http.connection import BoundedHttp

if TYPE_CHECKING:
    from asyncio import TimerHandle

logger = logging.getLogger(__name__)

STEP_BYTES = 16_384  # parsed at once: some 900 of the shortest requests
FIRST_LOOK_S = 0.05  # after the client's FIN; most answers are written before
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"


class HalfClosedHttp(BoundedHttp):
    """One connection, whose client may close its side before it has its answers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._ended = False  # the client has closed its side
        # The answer to a malformed message behind unanswered requests: nothing after that message is read.
        self._refusal: tuple[int, TrtserveError] | None = None
        # Bytes that arrived behind an unanswered request. While there are any, reading is paused.
        self._early = b""
        self._look: TimerHandle | None = None
        self._running: RequestResponseCycle | None = (
            None  # the last that was started; `cycle` may wait behind it
        )

    def data_received(self, data: bytes) -> None:
        """Parse `data`, but nothing behind a request that waits for another: each takes memory."""
        if self._early:
            self._early += data
            self.flow.pause_reading()
            return
        for begin in range(0, len(data), STEP_BYTES):
            if self._refusal is not None or self.transport.is_closing():
                return
            if self.pipeline:
                self._early = data[begin:]
                self.flow.pause_reading()
                return
            super().data_received(data[begin : begin + STEP_BYTES])

    def _go_on(self) -> None:
        """Parse the bytes that arrived behind the last request, and resume reading."""
        if self.transport.is_closing() or self.pipeline:
            return
        early, self._early = self._early, b""
        self.flow.resume_reading()
        if early:
            try:
                self.data_received(early)
            except Exception:
                # The transport does this for its own callbacks; here it would leave the connection open.
                logger.exception("a connection failed")
                self.transport.abort()
                return
        self.end_if_answered()

    def _end(self, status: int, failure: TrtserveError) -> None:
        """Refuse the message and end the connection, once the requests before it have their answers."""
        broken = self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete
        if broken and self.cycle is self._running:
            if self.cycle.response_started:  # a second answer cannot begin in the middle of the first
                self.transport.abort()
            else:
                super()._end(status, failure)
            return
        if broken:
            self.pipeline.popleft()
            self.cycle = self._running  # type: ignore[assignment]
        if self.owes():
            self._refusal = (status, failure)
            self.flow.pause_reading()
        else:
            super()._end(status, failure)

    def owes(self) -> bool:
        """True if a request that arrived whole has no answer yet."""
        running = self._running
        return bool(self.pipeline or self._early) or (running is not None and not running.response_complete)

    def may_interrupt(self) -> bool:
        """True if an interim answer may be written now: no answer has begun, and the client uses HTTP/1.1."""
        running = self._running
        if running is None or running.response_complete:
            return True
        return not running.response_started and running.scope["http_version"] == "1.1"

    def eof_received(self) -> bool:  # type: ignore[override]
        """True keeps the connection open for answers that are owed; a cut-off request is never answered."""
        cut_off = self.cycle is not None and self.cycle.more_body and not self.cycle.response_complete
        if cut_off and self.cycle is self._running:
            return False
        if cut_off:
            self.pipeline.popleft()
        if not self.owes():
            return False
        if not self._ended:
            self._ended = True
            self._look_again(FIRST_LOOK_S)
        return True

    def end_if_answered(self) -> None:
        """Close the connection if its client has closed its side and has all its answers."""
        if self._ended and not self.owes() and not self.transport.is_closing():
            self.transport.close()

    def _look_again(self, after: float) -> None:
        def look() -> None:
            if self.transport.is_closing() or not self.owes():
                return
            if self.may_interrupt():
                self.transport.write(INTERIM)
            self._look_again(2 * after)

        self._look = self.loop.call_later(after, look)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._early or self.pipeline:
            self.flow.pause_reading()
        if self._early and not self.pipeline:
            self.loop.call_soon(self._go_on)
        if self._refusal is not None and not self.owes() and not self.transport.is_closing():
            super()._end(*self._refusal)
        self.end_if_answered()

    def connection_lost(self, exc: Exception | None) -> None:
        self._early = b""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)
