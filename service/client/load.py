"""Load on a server: one request again and again, on as many connections as are to be outstanding at once.

A closed loop: a connection sends the next request once it has its answer. The bytes of the request are made
once and answers are only counted, so that one thread sends some ten thousand requests a second; httpx, which
makes and reads each message anew, sends a tenth of that.
"""

import asyncio
import base64
import json
import math
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast
from urllib.parse import unquote

import httptools
import httpx

from trtserve.client.errors import NoAnswer

LEAD_IN_S = 0.5  # at most, and a quarter of the time: what ends in it does not count
ENDS_WITHIN_S = 60.0  # the answers that are outstanding at the end
CONNECTS_WITHIN_S = 10.0

Clock = Callable[[], float]


@dataclass
class Measured:
    """What came of the requests that ended within `seconds`."""

    concurrency: int
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)  # of each 200, ascending: sent to read whole
    errors: Counter[str] = field(default_factory=Counter)  # by what went wrong
    example: str | None = None  # the sentence of the first error

    @property
    def per_second(self) -> float:
        """Successful requests a second."""
        return len(self.latencies_s) / self.seconds if self.seconds else 0.0

    def percentile_ms(self, share: float) -> float | None:
        """By nearest rank, so a time that occurred; None if no request succeeded."""
        if not self.latencies_s:
            return None
        return self.latencies_s[math.ceil(share * len(self.latencies_s)) - 1] * 1000


@dataclass(frozen=True)
class Target:
    """Where the requests go, and what each of them is."""

    host: str
    port: int
    tls: ssl.SSLContext | None
    message: bytes

    @classmethod
    def of(cls, request: httpx.Request, tls: ssl.SSLContext | None = None) -> "Target":
        """The request as bytes; `tls` in place of the usual certificates (SSL_CERT_FILE names your own)."""
        url, headers = request.url, request.headers.copy()
        if url.userinfo and "Authorization" not in headers:  # as httpx does when it sends
            headers["Authorization"] = (
                f"Basic {base64.b64encode(unquote(url.userinfo.decode()).encode()).decode()}"
            )
        lines = [b"%s %s HTTP/1.1" % (request.method.encode(), url.raw_path)]
        lines += [b"%s: %s" % (name, value) for name, value in headers.raw]
        secure = url.scheme == "https"
        return cls(
            url.host,
            url.port or (443 if secure else 80),
            (tls or httpx.create_ssl_context()) if secure else None,
            b"\r\n".join([*lines, b"", b""]) + request.read(),
        )


async def load(
    target: Target,
    concurrency: int,
    seconds: float,
    *,
    lead_in_s: float | None = None,
    clock: Clock = time.perf_counter,
) -> Measured:
    """Keep `concurrency` requests outstanding for a lead-in and then `seconds`; wait for the last answers.

    It takes longer until a request ends. Raises NoAnswer if the server cannot be connected to.
    """
    run = _Run(target, concurrency, clock)
    try:
        await run.connect()
        await run.keep_up(min(LEAD_IN_S, seconds / 4) if lead_in_s is None else lead_in_s, seconds)
    finally:
        run.close()
    return run.measured


class _Run:
    """One measurement. Belongs to the event loop."""

    def __init__(self, target: Target, concurrency: int, clock: Clock) -> None:
        self.target = target
        self.clock = clock
        self.measured = Measured(concurrency)
        self.counts = False  # what ends now
        self.sends = True
        self.outstanding = 0
        self._connections: set[_Connection] = set()
        self._idle = asyncio.Event()  # nothing is outstanding
        self._began = 0.0
        self._act: Callable[[], None] | None = None  # when a request ends
        self._acted = asyncio.Event()
        self._opening: set[asyncio.Task[None]] = set()  # connections in place of lost ones

    async def connect(self) -> None:
        try:
            async with asyncio.timeout(CONNECTS_WITHIN_S):
                for _ in range(self.measured.concurrency):
                    await self._open()
        except TimeoutError:
            raise NoAnswer(
                f"{self.target.host}:{self.target.port} did not accept {self.measured.concurrency} "
                f"connections within {CONNECTS_WITHIN_S:g} s."
            ) from None
        except OSError as failure:
            raise NoAnswer(
                f"No connection to {self.target.host}:{self.target.port}: {failure.strerror or failure}."
            ) from failure

    async def _open(self) -> None:
        target = self.target
        await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self), target.host, target.port, ssl=target.tls
        )

    async def keep_up(self, lead_in: float, seconds: float) -> None:
        """Count from one end of a request to another, so that few and long executions count whole."""
        await asyncio.sleep(lead_in)
        await self._at_next_end(self._begin)
        await asyncio.sleep(seconds)
        await self._at_next_end(self._stop)
        self.measured.latencies_s.sort()
        try:
            async with asyncio.timeout(ENDS_WITHIN_S):
                while self.outstanding:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            self.measured.errors["not answered in the end"] += self.outstanding

    def _begin(self) -> None:
        self._began, self.counts = self.clock(), True

    def _stop(self) -> None:
        self.counts, self.sends = False, False
        self.measured.seconds = self.clock() - self._began

    async def _at_next_end(self, act: Callable[[], None]) -> None:
        """Act when a request has ended: at once then, since others may end before this task has its turn."""
        self._act = act
        self._acted.clear()
        try:
            async with asyncio.timeout(ENDS_WITHIN_S):
                await self._acted.wait()
        except TimeoutError:
            self._turn()

    def _turn(self) -> None:
        act, self._act = self._act, None
        if act is not None:
            act()
            self._acted.set()

    def ended(self) -> None:
        """A request is not outstanding any more, and what it ended with is counted."""
        self.outstanding -= 1
        if not self.outstanding:
            self._idle.set()
        self._turn()

    def answered(self, sent_at: float) -> None:
        if self.counts:
            self.measured.latencies_s.append(self.clock() - sent_at)

    def failed(self, what: str, sentence: str) -> None:
        if self.counts:
            self.measured.errors[what] += 1
            self.measured.example = self.measured.example or sentence

    def made(self, connection: "_Connection") -> None:
        self._connections.add(connection)

    def lost(self, connection: "_Connection") -> None:
        """Open another in its place, as a client would."""
        self._connections.discard(connection)
        if self.sends:
            task = asyncio.ensure_future(self._again())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def _again(self) -> None:
        try:
            await self._open()
        except OSError as failure:
            self.failed("no connection", f"No connection: {failure.strerror or failure}.")
            self._turn()
            await asyncio.sleep(0.1)  # not without pause, at a server that does not listen
            if self.sends:
                await self._again()

    def close(self) -> None:
        self.sends = False
        for task in self._opening:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()


class _Connection(asyncio.Protocol):
    """Sends the request, reads its answer, and so on. httptools' parser calls the methods named on_*."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._sent_at: float | None = None  # the request that is outstanding
        self._body: list[bytes] = []  # of an answer with an error

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._run.made(self)
        self._send()

    def _send(self) -> None:
        if self._transport is None or not self._run.sends:
            return
        self._run.outstanding += 1
        self._sent_at = self._run.clock()
        self._transport.write(self._run.target.message)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("no HTTP", "The answer is not HTTP: does another server than trtserve run there?")
            self.abort()

    def on_body(self, body: bytes) -> None:
        if self._parser.get_status_code() != httpx.codes.OK:
            self._body.append(body)

    def on_message_complete(self) -> None:
        run, status, sent_at = self._run, self._parser.get_status_code(), self._sent_at
        if status < httpx.codes.OK or sent_at is None:  # 100 Continue
            return
        self._sent_at = None
        if status == httpx.codes.OK:
            run.answered(sent_at)
        else:
            run.failed(str(status), _sentence(self._body))
            self._body.clear()
        run.ended()
        if self._parser.should_keep_alive():
            self._send()
        else:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._fail("connection lost", "The server ended a connection without an answer.")
        self._run.lost(self)

    def _fail(self, what: str, sentence: str) -> None:
        """The request that is outstanding, if there is one, gets no answer."""
        if self._sent_at is not None:
            self._sent_at = None
            self._run.failed(what, sentence)
            self._run.ended()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


def _sentence(body: Sequence[bytes]) -> str:
    """The server's own, or what there is of an answer that is not one of trtserve's."""
    text = b"".join(body)
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200].decode(errors="replace")
