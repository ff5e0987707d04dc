"""The gRPC server that does not need grpc.aio: it listens, and has the connections."""

import asyncio
import socket
import time
from contextlib import suppress
from functools import partial
from typing import Any

import grpc

from runtime_ext import GrpcSession
from trtserve.errors import stopping
from trtserve.places import Places
from trtserve.rpc import status
from trtserve.rpc.fast.calls import OpenCall, StreamInfer
from trtserve.rpc.fast.connection import Connection
from trtserve.rpc.fast.handled import HandledCall
from trtserve.rpc.fast.inferring import CallHead, Shared
from trtserve.rpc.infer import Infer
from trtserve.rpc.streams import STREAM_DEPTH, STREAM_INFER, stream_stopping
from trtserve.services import Services
from trtserve.settings import Settings, most_connections, most_per_address
from trtserve.telemetry.asked import Asked
from trtserve.tls.certificates import Certificates
from trtserve.tls.door import Door

READ_BYTES = 262_144  # at a time
BACKLOG = 1024  # connections that wait to be accepted
EVERY_S = 1.0  # between two looks at all connections
LONGEST_S = 2_000_000.0  # of a time that the system keeps in milliseconds


class FastServer:
    """Started and stopped once. Belongs to the event loop.

    It takes handlers as grpc.aio's server does, and runs them for every method but inference.
    """

    def __init__(
        self,
        settings: Settings,
        most: int,
        certificates: Certificates | None = None,
        inherited: socket.socket | None = None,
    ) -> None:
        """Bind the port, unless a socket is `inherited`; `most`: bytes of a message; with `certificates`,
        connections have TLS.

        Raises OSError.
        """
        self.settings = settings
        self.stopping = False
        self._leaving = False
        self._most = most
        self._places = Places(most_connections(settings), most_per_address(settings))
        self._door: Door | None = None
        if certificates is not None:
            self._door = Door(partial(certificates.context, "h2"), self._places, settings.header_timeout_s)
        self._connections: set[Connection] = set()
        self._handlers: list[Any] = []
        self._gone = asyncio.Event()  # set: there is no connection
        self._gone.set()
        self._looked = 0.0
        self.buffer = memoryview(bytearray(READ_BYTES))  # each read is used before the next
        self._socket = inherited or _bound(settings.host, int(settings.grpc_port))
        self.port: int = self._socket.getsockname()[1]

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        self._handlers += handlers

    def add_registered_method_handlers(self, service: str, handlers: Any) -> None:
        """Do nothing: the generic handlers include these methods."""

    async def start(self, services: Services, infer: Infer, count: status.Count) -> None:
        self.loop = asyncio.get_running_loop()
        self.count = count
        self.shared = Shared(
            services.inference,
            services.inflight,
            infer,
            count,
            services.observer,
            most=self._most,
            guard=services.guard,
        )
        door = self._door
        self._listening = await self.loop.create_server(
            (lambda: Connection(self)) if door is None else (lambda: door.entrance(lambda: Connection(self))),
            sock=self._socket,
            backlog=BACKLOG,
        )

    @property
    def descriptor(self) -> int:
        """Of the socket that listens."""
        return self._socket.fileno()

    def leave(self) -> None:
        """Accept no more connections, because another process does, and ask clients to open their next calls
        over new ones. Calls that come meanwhile are answered."""
        self._leaving = True
        self._listening.close()
        self._notice_all()

    def _notice_all(self) -> None:
        for connection in list(self._connections):
            connection.notice("server_restarts")

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def stop(self, grace_s: float) -> None:
        """Accept no more calls, and return when those in progress are answered, after `grace_s` at most."""
        self.stopping = True
        self._listening.close()
        if self._door is not None:
            self._door.close()
        for connection in list(self._connections):
            connection.stop()
        try:
            async with asyncio.timeout(grace_s):
                await self._gone.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.give_up(stopping("; the time for calls in progress is over"))
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._gone.wait()
            for connection in list(self._connections):
                connection.abort()
            await self._gone.wait()

    # -- what connections use

    def new_session(self) -> GrpcSession:
        settings = self.settings
        return GrpcSession(
            message_bytes=self._most,
            in_progress=STREAM_DEPTH,
            calls=settings.grpc_max_concurrent_streams,
            ping_interval_ns=int(min(settings.grpc_min_ping_interval_s, LONGEST_S) * 1e9),
            ping_strikes=settings.grpc_max_ping_strikes,
            tell_all=self.shared.guard is not None,
            told=self.shared.observer.names,
        )

    def limit_unacknowledged(self, connection: socket.socket | None) -> None:
        """Let the system end a connection if its client acknowledges nothing that was sent."""
        if connection is not None:
            timeout_ms = int(1000 * min(self.settings.grpc_keepalive_timeout_s, LONGEST_S))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(timeout_ms, 1))

    def add(self, connection: Connection, address: str | None, *, placed: bool) -> bool:
        """Add a connection; False if there are as many as there may be, in all or from this address.

        `placed`: it has its place already, and hands it over.
        """
        if not placed and self._places.take(address) is not None:
            return False
        if self.stopping:
            self._places.give(address)
            return False
        if not self._connections:
            self._looked = time.monotonic()
            self.loop.call_later(EVERY_S, self._look)
        self._connections.add(connection)
        self._gone.clear()
        return True

    def remove(self, connection: Connection, address: str | None) -> None:
        self._connections.discard(connection)
        self._places.give(address)
        if not self._connections:
            self._gone.set()

    def open(
        self,
        connection: Connection,
        stream: int,
        path: str,
        deadline_ns: int | None,
        *,
        authorization: bytes | None,
        asked: Asked | None,
    ) -> OpenCall | None:
        """The call of the method at `path`; None if it was refused."""
        if path == STREAM_INFER:
            if self.stopping:
                connection.refuse(stream, stream_stopping())
                return None
            head = CallHead(deadline_ns, authorization, asked)
            return StreamInfer(connection, stream, self.shared, head)
        if self.stopping:
            connection.refuse(stream, stopping())
            return None
        details = _Details(path)
        for handlers in self._handlers:
            handler = handlers.service(details)
            if handler is not None:
                return HandledCall(
                    connection,
                    stream,
                    handler,
                    deadline_ns,
                    most=self._most,
                    authorization=authorization,
                    asked=asked,
                )
        connection.session.finish(stream, grpc.StatusCode.UNIMPLEMENTED.value[0], "Method not found!")
        return None

    def _look(self) -> None:
        if not self._connections:
            return
        now = time.monotonic()
        # A blocked loop has neither read nor sent meanwhile: that is not the clients' fault.
        passed = min(now - self._looked, 2 * EVERY_S)
        self._looked = now
        self.loop.call_later(EVERY_S, self._look)
        if self._leaving:  # those too that had only begun then
            self._notice_all()
        for connection in list(self._connections):
            connection.look(now, passed)


class _Details:
    """What grpc's handlers look at to find a method."""

    invocation_metadata = ()

    def __init__(self, method: str) -> None:
        self.method = method


def _bound(host: str, port: int) -> socket.socket:
    """A socket that is bound, and will listen. Raises OSError."""
    if host in ("0.0.0.0", "::") and socket.has_dualstack_ipv6():
        return _bind(socket.AF_INET6, ("::", port), dual=True)
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return _bind(family, address, dual=False)


def _bind(family: int, address: Any, *, dual: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        bound.bind(address)
        bound.listen(BACKLOG)  # a taken port is found here at the latest
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
