"""The application behind a protocol of uvicorn's on the loopback interface, and raw connections to it."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.fakes.runtime import FakeRuntime
from tests.waiting import HANGS_AFTER_S, until
from trtserve.http.short_way import InferProtocol, ShortWay
from trtserve.services import services_of

END = b"\r\n\r\n"
CONTINUE = 100
IDLE_S = 5  # the setting's default
LOOKS_S = 2  # until a look finds what has changed, and from the end of its time to the look after that

INFER = "/engines/net/infer"
WAYS = {"short": (), "ordinary": ("Expect: nothing",)}
"""Headers with which an inference takes the short way, or that through the framework."""


class Answer(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]  # in their order, names in lower case
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


class Listening:
    """A server on a port of its own, without uvicorn's Server around it."""

    def __init__(self, port: int, state: ServerState, short_way: ShortWay) -> None:
        self.port = port
        self.state = state
        self.short_way = short_way

    @property
    def connection(self) -> HttpToolsProtocol:
        """The one connection that there is, on the server's side."""
        (protocol,) = self.state.connections
        assert isinstance(protocol, HttpToolsProtocol)
        return protocol

    def shut_down(self) -> None:
        """What uvicorn does with the connections when the server is to stop."""
        for protocol in list(self.state.connections):
            protocol.shutdown()

    def end_drain(self) -> None:
        """What it does with the requests that are under way still when the drain time is over."""
        for task in list(self.state.tasks):
            task.cancel()
        self.short_way.stop()


@asynccontextmanager
async def listening(
    app: FastAPI,
    protocol: type[HttpToolsProtocol] = InferProtocol,
    clock: "Clock | None" = None,
) -> AsyncIterator[Listening]:
    """`app` has been started. `clock` is the time of its connections."""
    held = services_of(app)
    short_way = ShortWay(held.inference, held.inflight, held.metrics.errors, held.settings)
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    state.default_headers = [(b"server", b"test")]
    loop = asyncio.get_running_loop()
    on: Any = clock or loop
    server = await loop.create_server(
        lambda: protocol(config, state, {"short_way": short_way}, on), "127.0.0.1", 0
    )
    try:
        yield Listening(server.sockets[0].getsockname()[1], state, short_way)
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        async with asyncio.timeout(HANGS_AFTER_S):
            while state.connections or state.tasks:  # noqa: ASYNC110
                await asyncio.sleep(0)


@asynccontextmanager
async def held(
    app: FastAPI, runtime: FakeRuntime, request: bytes, clock: "Clock | None" = None
) -> AsyncIterator[tuple[Listening, "Connection"]]:
    """A server and a connection to it whose request has begun; the runtime holds it until it is released."""
    runtime.hold()
    async with listening(app, clock=clock) as server, Connection(server) as connection:
        await connection.send(request)
        await until(lambda: len(runtime.waiting) == 1)
        yield server, connection


class Clock:
    """The running loop, but with a time that only `advance` moves."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = 0.0
        self._timers: list[Timer] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], None]) -> "Timer":
        timer = Timer(self._now + delay, callback)
        self._timers.append(timer)
        return timer

    def advance(self, seconds: float) -> None:
        """Call what is due until then, each at its time."""
        end = self._now + seconds
        while due := [timer for timer in self._timers if timer.at <= end]:
            timer = min(due, key=lambda each: each.at)
            self._timers.remove(timer)
            self._now = max(self._now, timer.at)
            if not timer.cancelled:
                timer.callback()
        self._now = end

    def stand_still(self, seconds: float) -> None:
        """Let the time pass, but call nothing."""
        self._now += seconds


@dataclass(eq=False)
class Timer:
    at: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class Connection:
    """A client that sends bytes and reads answers; `async with` opens and closes it."""

    def __init__(self, listening: Listening, receive_buffer: int | None = None) -> None:
        self._port = listening.port
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.setblocking(False)
        self._received = bytearray()

    async def __aenter__(self) -> Self:
        await self._loop.sock_connect(self._socket, ("127.0.0.1", self._port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.leave()

    async def send(self, *pieces: bytes) -> None:
        """Each piece is read by the server before the next is sent, as far as can be."""
        for piece in pieces:
            with suppress(ConnectionError):  # the server has ended it: the answers tell why
                await self._loop.sock_sendall(self._socket, piece)
            await turns(4)

    async def answer(self, *, bodiless: bool = False, interim: bool = False) -> Answer | None:
        """The next answer; None at the end of the connection.

        `bodiless`: its length is that of a body which does not come. `interim`: it may be an interim one.
        Else that is read over, as by any client: on a busy machine it may come at any time.
        """
        while True:
            answer = await self._answer(bodiless)
            if interim or answer is None or answer.status != CONTINUE:
                return answer

    async def _answer(self, bodiless: bool) -> Answer | None:
        async with asyncio.timeout(HANGS_AFTER_S):
            while (end := self._received.find(END)) < 0:
                if not await self._receive():
                    assert not self._received, "the connection ended in the middle of an answer"
                    return None
            line, *lines = self._received[:end].decode("latin-1").split("\r\n")
            headers = tuple(
                (name.lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines)
            )
            assert "transfer-encoding" not in dict(headers)
            length = 0 if bodiless else int(dict(headers).get("content-length", 0))
            whole = end + len(END) + length
            while len(self._received) < whole:
                assert await self._receive(), "the connection ended in the middle of an answer"
        body = bytes(self._received[end + len(END) : whole])
        del self._received[:whole]
        return Answer(int(line.split()[1]), headers, body)

    async def ask(self, *pieces: bytes) -> Answer:
        """The answer to a request that is the only one under way."""
        await self.send(*pieces)
        answer = await self.answer()
        assert answer is not None, "the connection ended without an answer"
        return answer

    async def take(self, size: int) -> None:
        """Read so many bytes, and no more."""
        async with asyncio.timeout(HANGS_AFTER_S):
            while size > 0:
                data = await self._loop.sock_recv(self._socket, size)
                assert data, "the connection ended"
                size -= len(data)

    def leave(self) -> None:
        self._socket.close()

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def end_sending(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    async def _receive(self) -> bool:
        try:
            data = await self._loop.sock_recv(self._socket, 65536)
        except ConnectionResetError:
            data = b""
        self._received += data
        return bool(data)


async def turns(number: int) -> None:
    """Let the event loop go round so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


def request(
    target: str | bytes = INFER,
    body: bytes = b"",
    *headers: str | bytes,
    method: str = "POST",
    version: str = "1.1",
    length: str | None = "",
) -> bytes:
    """A request as it goes over the wire; `length` None: without a Content-Length."""
    lines = [b" ".join((method.encode(), _bytes(target), b"HTTP/" + version.encode())), b"Host: test"]
    lines += map(_bytes, headers)
    if length is not None:
        lines.append(f"Content-Length: {length or len(body)}".encode())
    return b"\r\n".join([*lines, b"", b""]) + body


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


GET = request("/engines/net", method="GET", length=None)


def infer(value: float = 1.0, rows: int = 1, *headers: str, **members: object) -> bytes:
    """A binary request with x of 4 * rows values; its answer is binary too."""
    size = 16 * rows
    x = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    document = json.dumps({"inputs": [x], "parameters": {"binary_data_output": True}} | members).encode()
    body = document + np.full(4 * rows, value, np.float32).tobytes()
    return request(INFER, body, f"Inference-Header-Content-Length: {len(document)}", *headers)


def value(answer: Answer | None) -> float:
    """The first value of y; the answer is a good one."""
    assert answer is not None
    assert answer.status == 200, answer
    length = int(answer.header("inference-header-content-length") or 0)
    return float(np.frombuffer(answer.body[length:], np.float32)[0])


def counted(app: FastAPI) -> dict[str, float]:
    """Errors answered, by code."""
    samples = [s for family in services_of(app).metrics.errors.collect() for s in family.samples]
    return {s.labels["code"]: s.value for s in samples if s.name.endswith("_total")}


async def all_taken_back(app: FastAPI) -> None:
    await until(lambda: services_of(app).inflight.taken == 0)
    await turns(4)
    assert services_of(app).inflight.taken == 0
