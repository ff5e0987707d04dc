"""HTTP with limits on slow clients, and on the number of connections.

`Connections` looks at every connection once a second; this is what it asks each of them.
"""

import asyncio
import socket
import sys
import termios
from fcntl import ioctl
from typing import Any

from trtserve.errors import BodyStalled, Unavailable
from trtserve.http.connection_limits import Connections, Phase, Standing
from trtserve.http.half_closed import HalfClosedHttp

TCP_INFO_BYTES = 256
BYTES_ACKED = 120  # where it begins


class TimedHttp(HalfClosedHttp):
    """One connection. The ASGI lifespan's `short_way` has the server's `connections`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections: Connections = self.app_state["short_way"].connections
        self._in_parser = 0  # messages that the parser has begun but not finished
        self._in_head = False  # the last one's head is not complete
        self._number = 0  # messages that have begun, on the short way and the long one
        self._resumed = 0  # how often writing has resumed after the client was behind

    def standing(self) -> Standing:
        """What the connection waits for now, and how far it has come."""
        unsent = self._unsent()
        if self.scheme == "https" and not unsent and self.transport.is_closing():
            return Standing(Phase.CLOSING, self._number, 0)
        if unsent or self.transport.is_closing():
            secure = self.scheme == "https"
            # Over TLS resumption says nothing: what is kept below it is not seen.
            moved = _acknowledged(self.transport) if secure else -unsent - _undelivered(self.transport)
            return Standing(Phase.ANSWER, 0 if secure else self._resumed, moved)
        return self._awaited()

    def _unsent(self) -> int:
        """Written bytes that the client has not taken; over TLS those of the system too, because those that
        asyncio keeps below it are not counted, and there are none without them."""
        unsent = self.transport.get_write_buffer_size()
        return unsent + _undelivered(self.transport) if self.scheme == "https" else unsent

    def _awaited(self) -> Standing:
        """What it waits for with nothing left to write. The application times the bodies that it reads."""
        if self.owes():
            phase = Phase.WAITING
        elif self._in_head or self._number == 0:
            phase = Phase.HEAD
        else:
            phase = Phase.REST if self._in_parser > 0 else Phase.IDLE
        return Standing(phase, self._number, 0)

    def end_late(self, phase: Phase) -> bool:
        if phase is Phase.HEAD and self._in_head:
            seconds = self._connections.header_timeout_s
            late = BodyStalled(
                f"The request's line and headers did not arrive whole within {seconds:g} s. Send them at "
                "once, or start the server with a longer --header-timeout-s (TRTSERVE_HEADER_TIMEOUT_S)."
            )
            self._end(late.status, late)
        elif phase in {Phase.HEAD, Phase.IDLE}:
            # A loop that was busy looks at its connections before it reads them. Without this, a client that
            # sent its request in time would find the connection closed, without an answer.
            if _unread(self.transport):
                return False
            self.transport.close()
        else:  # it does not read its answer
            self.transport.abort()
        return True

    # -- the connection's life

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        try:
            # Over TLS it took its place when it was accepted, before the handshake.
            address = self.client[0] if self.client else None
            self._connections.add(self, address, placed=self.scheme == "https")
        except Unavailable as full:
            self._end(503, full)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.remove(self)
        super().connection_lost(exc)

    def give_up(self) -> None:
        """Refuse a request in progress that uvicorn does not know; without the short way there is none."""

    def resume_writing(self) -> None:
        self._resumed += 1
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._unset_keepalive_if_required()  # Connections times idle connections already

    # -- callbacks of the parser

    def on_message_begin(self) -> None:
        self._in_parser += 1
        self._number += 1
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_head = False
        if self._connections.leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        self._in_parser -= 1
        super().on_message_complete()


def _undelivered(transport: asyncio.Transport) -> int:
    """Written bytes that the kernel still holds, because the client's kernel has not acknowledged them.

    The transport's own buffer shrinks in jumps: the kernel accepts more only once a third of its own is free.
    """
    return _held_by_kernel(transport, termios.TIOCOUTQ)


def _unread(transport: asyncio.Transport) -> int:
    """Bytes of the client that the kernel still holds."""
    return _held_by_kernel(transport, termios.FIONREAD)


def _held_by_kernel(transport: asyncio.Transport, asked: int) -> int:
    own = transport.get_extra_info("socket")
    if own is None:  # below TLS it has been closed, and connection_lost comes next
        return 0
    try:
        held = ioctl(own.fileno(), asked, bytes(4))
    except (OSError, ValueError):  # it has been closed
        return 0
    return int.from_bytes(held, sys.byteorder)


def _acknowledged(transport: asyncio.BaseTransport) -> int:
    """Bytes that the client's kernel has acknowledged since the connection began; 0 if nothing tells.

    Source: tcp(7), TCP_INFO; the field is tcpi_bytes_acked in linux/tcp.h.
    """
    own = transport.get_extra_info("socket")
    if own is None:  # as above
        return 0
    try:
        told = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    except OSError:  # it has been closed
        return 0
    return int.from_bytes(told[BYTES_ACKED : BYTES_ACKED + 8], sys.byteorder)
