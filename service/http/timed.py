"""HTTP for clients that take their time, or come in numbers: connections are limited in both.

Connections looks at all of them once a second; here is what it asks each.
"""

import asyncio
import sys
import termios
from fcntl import ioctl
from typing import Any

from trtserve.errors import BodyStalled, Unavailable
from trtserve.http.connection_limits import Connections, Phase, Standing
from trtserve.http.half_closed import HalfClosedHttp


class TimedHttp(HalfClosedHttp):
    """One connection. The lifespan's `short_way` has the `connections` of the server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections: Connections = self.app_state["short_way"].connections
        self._in_parser = 0  # messages that the parser has begun to read and not read to their end
        self._in_head = False  # of the last of them, the head is not there whole
        self._number = 0  # of messages that have begun, on whichever way
        self._resumed = 0  # how often the client has taken what was too much to write on

    def standing(self) -> Standing:
        """What the connection waits for now."""
        unsent = self.transport.get_write_buffer_size()
        if unsent or self.transport.is_closing():
            return Standing(Phase.ANSWER, self._resumed, -unsent - _undelivered(self.transport))
        return self._awaited()

    def _awaited(self) -> Standing:
        """What it waits for with nothing to write. The application watches over the bodies that it reads."""
        if self.owes():
            phase = Phase.WAITING
        elif self._in_head or self._number == 0:
            phase = Phase.HEAD
        else:
            phase = Phase.REST if self._in_parser > 0 else Phase.IDLE
        return Standing(phase, self._number, 0)

    def end_late(self, phase: Phase) -> None:
        if phase is Phase.HEAD and self._in_head:
            seconds = self._connections.header_timeout_s
            late = BodyStalled(
                f"The request's line and headers had not come whole after {seconds:g} s. Send them at once, "
                "or start the server with a longer --header-timeout-s (TRTSERVE_HEADER_TIMEOUT_S)."
            )
            self._end(late.status, late)
        elif phase in {Phase.HEAD, Phase.IDLE}:
            self.transport.close()
        else:  # what it has to read, it does not read
            self.transport.abort()

    # -- the connection's life

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        try:
            self._connections.add(self, self.client[0] if self.client else None)
        except Unavailable as full:
            self._end(503, full)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        super().connection_lost(exc)

    def give_up(self) -> None:
        """Refuse the request under way that uvicorn does not know of: on this way there is none."""

    def resume_writing(self) -> None:
        self._resumed += 1
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # one timer for an idle connection is enough

    # -- what the parser tells of

    def on_message_begin(self) -> None:
        self._in_parser += 1
        self._number += 1
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_head = False

    def on_message_complete(self) -> None:
        self._in_parser -= 1
        super().on_message_complete()


def _undelivered(transport: asyncio.Transport) -> int:
    """The bytes of what was written that this system still holds, as the client's has not acknowledged them.

    What the transport has moves in jumps: the system takes more only once a third of what it holds is free.
    """
    try:
        left = ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # it has been closed
        return 0
    return int.from_bytes(left, sys.byteorder)
