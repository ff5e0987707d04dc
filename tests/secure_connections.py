"""The application behind TLS on the loopback interface, and raw connections to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from fastapi import FastAPI
from uvicorn.server import ServerState

from tests.certificates import Files
from tests.connections import Clock, Connection, Listening, turns
from tests.waiting import HANGS_AFTER_S
from trtserve.http.short_way import InferProtocol, ShortWay
from trtserve.services import services_of
from trtserve.tls.certificates import Certificates
from trtserve.tls.door import Door

HANDSHAKE_S = 60.0  # longer than any test


class SecurelyListening(Listening):
    def __init__(self, port: int, state: ServerState, short_way: ShortWay, trust: ssl.SSLContext) -> None:
        super().__init__(port, state, short_way)
        self.trust = trust


@asynccontextmanager
async def listening_securely(
    app: FastAPI, folder: Path, clock: Clock | None = None
) -> AsyncIterator[SecurelyListening]:
    """Serve `app`, which has been started, over TLS; see listening()."""
    files = Files(folder)
    certificates = Certificates(files.certificate, files.key)
    held = services_of(app)
    short_way = ShortWay(
        held.inference, held.inflight, held.metrics.errors, held.settings, held.guard, observer=held.observer
    )
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    state.default_headers = [(b"server", b"test")]
    loop = asyncio.get_running_loop()
    on: Any = clock or loop
    connections = short_way.connections
    door = Door(
        partial(certificates.context, "http/1.1"), connections.places, HANDSHAKE_S, connections.refused
    )
    inner = partial(InferProtocol, config, state, {"short_way": short_way}, on)
    server = await loop.create_server(lambda: door.entrance(inner), "127.0.0.1", 0)
    try:
        yield SecurelyListening(server.sockets[0].getsockname()[1], state, short_way, files.trust())
    finally:
        server.close()
        door.close()
        for connection in list(state.connections):
            connection.transport.abort()
        async with asyncio.timeout(HANGS_AFTER_S):
            while state.connections or state.tasks:  # noqa: ASYNC110
                await asyncio.sleep(0)


class SecureConnection(Connection):
    """A client over TLS that reads only what it is asked for."""

    def __init__(self, listening: SecurelyListening, receive_buffer: int | None = None) -> None:
        super().__init__(listening, receive_buffer)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = listening.trust.wrap_bio(self._in, self._out, server_hostname="127.0.0.1")

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                self._in.write(await self._loop.sock_recv(self._socket, 65536))
            else:
                await self._flush()
                return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    async def _flush(self) -> None:
        with suppress(ConnectionError):  # the server ended it: its answers say why
            await self._loop.sock_sendall(self._socket, self._out.read())

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._tls.write(piece)
            await self._flush()
            await turns(4)

    def send_unread(self, data: bytes) -> None:
        self._tls.write(data)
        super().send_unread(self._out.read())

    async def _receive(self) -> bool:
        while True:
            try:
                data = self._tls.read(65536)
            except ssl.SSLWantReadError:
                try:
                    sent = await self._loop.sock_recv(self._socket, 65536)
                except ConnectionResetError:
                    return False
                if not sent:
                    return False
                self._in.write(sent)
            except ssl.SSLZeroReturnError:
                return False
            else:
                self._received += data
                return bool(data)
