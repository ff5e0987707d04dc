"""Lets clients in over TLS: a connection takes its place before its handshake, which must end in time.

asyncio knows nothing of a connection until its handshake is over, so that as many as a client opens would
wait there, uncounted. Here each is accepted without TLS first and counted; then asyncio gets its socket back
for the handshake.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any

from trtserve.places import Places

HANDSHAKE = "handshake"
# Between our end of a connection and the client's, with what is still to be sent: its owner watches that.
NEVER_S = 1e6

Inner = Callable[[], asyncio.BaseProtocol]


class Door:
    """Belongs to the event loop."""

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        places: Places,
        timeout_s: float,
        refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """`context` for the next connection; `timeout_s` for a handshake; `refused` hears why a connection
        ended before it began."""
        self._context = context
        self._places = places
        self._timeout_s = timeout_s
        self._refused = refused
        self._tasks: set[asyncio.Task[None]] = set()  # handshakes

    def entrance(self, inner: Inner) -> asyncio.Protocol:
        """The protocol of a new connection, which `inner` takes over once TLS has begun.

        The connection of `inner` has a place, and gives it back at its end.
        """
        return _Entrance(self, inner)

    def close(self) -> None:
        """End the handshakes: the server stops."""
        for task in self._tasks:
            task.cancel()

    def come_in(self, transport: Any, inner: Inner) -> None:
        address = address_of(transport)
        reason = self._places.take(address)
        if reason is not None:
            self._refused(reason)
            transport.abort()
            return
        # A second descriptor: the first ends with its transport, which has read nothing.
        accepted = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        accepted.setblocking(False)
        transport.abort()
        task = asyncio.get_running_loop().create_task(self._shake_hands(accepted, address, inner))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shake_hands(self, accepted: socket.socket, address: str | None, inner: Inner) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                inner,
                accepted,
                ssl=self._context(),
                ssl_handshake_timeout=self._timeout_s,
                ssl_shutdown_timeout=NEVER_S,
            )
        except OSError:  # no handshake, a certificate that is not trusted, or too late: it has ended
            self._places.give(address)
            self._refused(HANDSHAKE)
        except BaseException:
            self._places.give(address)
            raise


class _Entrance(asyncio.Protocol):
    def __init__(self, door: Door, inner: Inner) -> None:
        self._door = door
        self._inner = inner

    def connection_made(self, transport: Any) -> None:
        self._door.come_in(transport, self._inner)


def address_of(transport: asyncio.BaseTransport) -> str | None:
    """The client's address; None if it has none, as over a pipe."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else None
