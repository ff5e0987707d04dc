"""Latency under open-loop load: requests come when they come, whether or not the ones before are answered.

Arrivals are a Poisson process of a given rate. A request's latency counts from the moment at which it was to
be sent, so a stall of the server, or of this client, is in the figures of all requests that it held up: the
correction for coordinated omission. There are as many connections as it takes.
"""

import asyncio
import random
import re
import time
from dataclasses import dataclass, field
from typing import cast

import uvloop

from bench.wrk import Request

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


@dataclass
class Result:
    latencies_us: list[float] = field(default_factory=list)
    errors: int = 0
    sent: int = 0

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies_us)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Connection(asyncio.Protocol):
    """One request at a time, over and over; idle between two."""

    def __init__(self, client: "_Client") -> None:
        self._client = client
        self._answer = b""
        self._missing = -1  # bytes of the answer; -1: its head has not come whole
        self.due = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, due: float) -> None:
        self.due = due
        self._transport.write(self._client.request)

    def data_received(self, data: bytes) -> None:
        if self._missing < 0:
            self._answer += data
            head = self._answer.find(b"\r\n\r\n")
            length = LENGTH.search(self._answer[: head + 2]) if head >= 0 else None
            if length is None:
                return
            self._missing = head + 4 + int(length.group(1)) - len(self._answer)
        else:
            self._missing -= len(data)
        if self._missing == 0:
            good = self._answer.startswith(b"HTTP/1.1 200 ")
            self._answer, self._missing = b"", -1
            self._client.answered(self, good)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.lost(self)

    def close(self) -> None:
        self._transport.close()


class _Client:
    def __init__(self, host: str, port: int, path: str, request: Request) -> None:
        self._address = host, port
        body = request.body.read_bytes()
        headers = {**request.headers, "Host": host, "Content-Length": str(len(body))}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.request = f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
        self._idle: list[_Connection] = []
        self._all: list[_Connection] = []
        self._under_way = 0
        self._closing = False
        self._all_sent = False
        self._done = asyncio.Event()  # all that were sent have ended
        self.result = Result()

    def answered(self, connection: _Connection, good: bool) -> None:
        self.result.latencies_us.append((time.perf_counter() - connection.due) * 1e6)
        self.result.errors += not good
        self._idle.append(connection)
        self._ended()

    def lost(self, connection: _Connection) -> None:
        if connection in self._idle:  # the server closes what is idle for long
            self._idle.remove(connection)
        elif not self._closing:
            self.result.errors += 1
            self._ended()

    def _ended(self) -> None:
        self._under_way -= 1
        if self._all_sent and not self._under_way:
            self._done.set()

    async def run(self, rate: float, seconds: float) -> Result:
        arrivals = random.Random(0)
        began = due = time.perf_counter()
        while due < began + seconds:
            due += arrivals.expovariate(rate)
            wait = due - time.perf_counter()
            if wait > 0 or self.result.sent % 16 == 0:
                await asyncio.sleep(max(0.0, wait))
            if self._idle:
                connection = self._idle.pop()
            else:
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(lambda: _Connection(self), *self._address)
                self._all.append(connection)
            self._under_way += 1
            self.result.sent += 1
            connection.send(due)
        self._all_sent = True
        if not self._under_way:
            self._done.set()
        await self._done.wait()
        self._closing = True
        for connection in self._all:
            connection.close()
        return self.result


def run(url: str, request: Request, rate: float, seconds: float) -> Result:
    """`rate` requests a second, for so many seconds; ends when all are answered."""
    authority, _, path = url.removeprefix("http://").partition("/")
    host, _, port = authority.partition(":")
    client = _Client(host, int(port), f"/{path}", request)
    return uvloop.run(client.run(rate, seconds))
