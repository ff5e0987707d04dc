"""The application behind a uvicorn protocol on the loopback interface, and raw connections to it."""

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

from tests.fakes.runtime import FakeRuntime, Output
from tests.waiting import HANGS_AFTER_S, until
from trtserve.http.short_way import InferProtocol, ShortWay
from trtserve.services import services_of

END = b"\r\n\r\n"
CONTINUE = 100
IDLE_S = 5  # the setting's default
HEADER_S, WRITE_S, BODY_S = 30, 60, 30  # the settings' defaults
LOOKS_S = 2  # a check runs within this time of a change, and of the end of a limit

INFER = "/engines/net/infer"
WAYS = {"short": (), "ordinary": ("Expect: nothing",)}
"""Headers that send an inference down the short way or through the framework."""


class Answer(NamedTuple):
    status: int
    headers: tuple[tuple[str, str], ...]  # in order of arrival, names in lower case
    body: bytes

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


class Listening:
    """A server on its own port, without uvicorn's Server."""

    def __init__(self, port: int, state: ServerState, short_way: ShortWay) -> None:
        self.port = port
        self.state = state
        self.short_way = short_way

    @property
    def connection(self) -> HttpToolsProtocol:
        """The server's side of its only connection."""
        (protocol,) = self.state.connections
        assert isinstance(protocol, HttpToolsProtocol)
        return protocol

    def shut_down(self) -> None:
        """Shut every connection down, as uvicorn does when the server stops."""
        for protocol in list(self.state.connections):
            protocol.shutdown()

    def end_drain(self) -> None:
        """Cancel the requests that still run, as uvicorn does when the drain time is over."""
        for task in list(self.state.tasks):
            task.cancel()
        self.short_way.stop()


@asynccontextmanager
async def listening(
    app: FastAPI,
    protocol: type[HttpToolsProtocol] = InferProtocol,
    clock: "Clock | None" = None,
) -> AsyncIterator[Listening]:
    """Serve `app`, which has been started; its connections read the time from `clock`."""
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
    """A server and a connection whose request has begun; the runtime holds it until released."""
    runtime.hold()
    async with listening(app, clock=clock) as server, Connection(server) as connection:
        await connection.send(request)
        await until(lambda: len(runtime.waiting) == 1)
        yield server, connection


class Clock:
    """The running loop with a time that only `advance` moves."""

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
        """Move the time forward, and run each due timer at its time."""
        end = self._now + seconds
        while due := [timer for timer in self._timers if timer.at <= end]:
            timer = min(due, key=lambda each: each.at)
            self._timers.remove(timer)
            self._now = max(self._now, timer.at)
            if not timer.cancelled:
                timer.callback()
        self._now = end

    def stand_still(self, seconds: float) -> None:
        """Move the time forward without running any timer."""
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
        """Send the pieces in order; the server usually reads each before the next is sent."""
        for piece in pieces:
            with suppress(ConnectionError):  # the server ended it: its answers say why
                await self._loop.sock_sendall(self._socket, piece)
            await turns(4)

    def send_unread(self, data: bytes) -> None:
        """Send a few bytes that the kernel keeps until the event loop runs again."""
        assert self._socket.send(data) == len(data)

    async def answer(self, *, bodiless: bool = False, interim: bool = False) -> Answer | None:
        """Return the next answer; None at the end of the connection.

        `bodiless`: no body follows, whatever the Content-Length. `interim`: return an interim answer too.
        Otherwise skip interim answers, as every client does: a busy server may send one at any time.
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
        """Send a request while no other runs; return its answer."""
        await self.send(*pieces)
        answer = await self.answer()
        assert answer is not None, "the connection ended without an answer"
        return answer

    async def take(self, size: int) -> None:
        """Read exactly `size` bytes."""
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
    """Let the event loop run `number` times."""
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
    """The bytes of a request; `length` None: without a Content-Length."""
    lines = [b" ".join((method.encode(), _bytes(target), b"HTTP/" + version.encode())), b"Host: test"]
    lines += map(_bytes, headers)
    if length is not None:
        lines.append(f"Content-Length: {length or len(body)}".encode())
    return b"\r\n".join([*lines, b"", b""]) + body


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


GET = request("/engines/net", method="GET", length=None)


def infer(value: float = 1.0, rows: int = 1, *headers: str, **members: object) -> bytes:
    """A binary request whose x has 4 * rows values; its answer is binary too."""
    size = 16 * rows
    x = {"name": "x", "shape": [rows, 4], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    document = json.dumps({"inputs": [x], "parameters": {"binary_data_output": True}} | members).encode()
    body = document + np.full(4 * rows, value, np.float32).tobytes()
    return request(INFER, body, f"Inference-Header-Content-Length: {len(document)}", *headers)


def value(answer: Answer | None) -> float:
    """Check that the answer is a 200; return the first value of y."""
    assert answer is not None
    assert answer.status == 200, answer
    length = int(answer.header("inference-header-content-length") or 0)
    return float(np.frombuffer(answer.body[length:], np.float32)[0])


def counted(app: FastAPI) -> dict[str, float]:
    """The number of error answers by code, of those that there were."""
    samples = [s for family in services_of(app).metrics.errors.collect() for s in family.samples]
    return {s.labels["code"]: s.value for s in samples if s.name.endswith("_total") and s.value > 0}


async def all_taken_back(app: FastAPI) -> None:
    await until(lambda: services_of(app).inflight.taken == 0)
    await turns(4)
    assert services_of(app).inflight.taken == 0


HUGE = 8_000_000  # bytes of an answer: more than the kernel buffers for a client


def huge(_: object) -> list[Output]:
    return [Output.of("y", "FP32", [HUGE // 4], bytes(HUGE))]


def ended(server: Listening) -> dict[str, int]:
    """How many connections the server has ended, by reason."""
    return dict(server.short_way.connections.ended)


async def gone(server: Listening) -> None:
    """Wait until the server has no connections."""
    await until(lambda: not server.state.connections)


async def read_slowly(connection: Connection, clock: Clock) -> Answer:
    """Read an answer while time goes by: a second each time that the server gets its turn."""
    reading = asyncio.create_task(connection.answer())
    while not reading.done():
        await turns(5)
        clock.advance(1)
    answer = await reading
    assert answer is not None
    return answer


async def stays_and_ends(server: Listening, clock: Clock, within_s: float) -> None:
    """Check that the connection has `within_s` seconds, and no more than the server needs to look again.

    The kernels may deliver more of an answer at any moment, although the client reads nothing. The connection
    gets more time for that, but not another `within_s` seconds.
    """
    before, ended_before = server.connection.standing(), ended(server)
    clock.advance(within_s - 1)
    await turns(20)
    assert len(server.state.connections) == 1
    clock.advance(1 + LOOKS_S)

    def has_ended() -> bool:
        nonlocal before
        if not server.state.connections:
            return True
        now = server.connection.standing()
        if now != before and ended(server) == ended_before:
            before = now
            clock.advance(within_s)
        return False

    await until(has_ended)


async def not_reading(server: Listening) -> Callable[[], bool]:
    protocol = server.connection
    await until(lambda: protocol.flow is not None)
    return lambda: protocol.flow.write_paused
