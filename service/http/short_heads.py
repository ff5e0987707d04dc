"""The heads of requests that may take the short way, looked up by what matters in them.

Real clients put something new into each head: a trace, a request's ID, a token. C++ checks every head and
makes a short one of it: the request line and the headers that change an answer, as they were sent. httptools
reads a short head only the first time it comes. The numbers that differ between requests (the body's length,
that of its JSON, the timeout) are not in it; they are read each time.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal
from urllib.parse import unquote

import httptools
from starlette.datastructures import Headers

from runtime_ext import HeadReader
from trtserve.access.guard import Guard
from trtserve.codec import Form
from trtserve.errors import TrtserveError
from trtserve.http.allowed_hosts import AllowedHosts
from trtserve.http.connection import refusal
from trtserve.http.headers import in_ns, read_headers
from trtserve.inference.call import HERE_BYTES, RequestHead
from trtserve.telemetry.asked import NAMES, QUIET, Asked

# The paths of the routes in routes.infer: an engine, a module or a name; a model, which may have a version.
TARGET = re.compile(rb"/(?:(?:engines|modules)/([^/?#]+)|v2/models/([^/?#]+)(?:/versions/([^/?#]+))?)/infer")
HEADS = 4096  # short ones, the most that are kept
# What read_headers() reads of a body's form and the answer's, what AllowedHosts decides from, and what
# httptools decides from whether the connection stays open.
KEPT = (
    *("content-type", "content-encoding", "accept", "accept-encoding"),
    *("host", "origin", "sec-fetch-site"),
    *("connection", "proxy-connection"),
)
NUMBERS = ("content-length", "inference-header-content-length", "inference-timeout-ms")
UNUSUAL = ("transfer-encoding", "expect", "upgrade")
TOKEN = "authorization"  # told apart: it differs between clients, and changes no answer


class KnownHead:
    """A request's head that may take the short way: what it shares with others, and its own numbers."""

    __slots__ = ("asked", "end", "head", "header_length", "length", "timeout_ns")

    def __init__(
        self,
        head: RequestHead,
        end: int,
        length: int,
        header_length: int,
        timeout_ns: int | None,
        *,
        asked: Asked | Literal[False] | None,
    ) -> None:
        self.head = head
        self.end = end  # bytes of the head as it was sent
        self.length = length  # of the body, in bytes
        self.header_length = header_length  # of the JSON in the binary form, in bytes; -1: another form
        self.timeout_ns = timeout_ns  # None: the head gives none; 0: no limit
        self.asked = asked  # besides the answer; None: nothing; False: nothing, and no trace


class _LongWay(Exception):
    """The head must take the long way. Raised, so that such heads take no place in a cache."""


class KnownHeads:
    """The short heads that were seen before. Belongs to the event loop; bounded, whatever clients send.

    If it is full, it forgets the one that has not come for the longest time.
    """

    def __init__(
        self,
        limit: int,
        hosts: AllowedHosts,
        guard: Guard | None = None,
        *,
        cors: bool = False,
        asked: Sequence[str] = NAMES,
    ) -> None:
        """`limit` bounds a body, in bytes; requests that it, `hosts` or `guard` refuse take the long way.

        With `cors`, so do all of web pages: their answers have more headers. `asked`: the names of the
        headers that ask for something besides the answer, which differ between requests and are told apart.
        """
        self._limit = limit
        self._hosts = hosts
        self._guard = guard
        kept = [name for name in KEPT if name != "origin"] if cors else KEPT
        unusual = (*UNUSUAL, "origin") if cors else UNUSUAL
        token = TOKEN if guard is not None else ""
        quiet = {name: end for name, end in QUIET.items() if name in asked}
        self._shorten = HeadReader(kept, NUMBERS, unusual, token, asked, quiet).read
        self._known = lru_cache(HEADS)(self._read)

    def look_up(self, data: bytes) -> KnownHead | None:
        """The head at the start of `data`; None if it is not complete, or must take the long way."""
        shortened = self._shorten(data)
        if shortened is None:
            return None
        short, end, length, header_length, milliseconds, token, asked = shortened
        try:
            head = self._known(short)
        except _LongWay:
            return None
        if self._guard is not None and not self._guard.may_infer(token, head.ref):
            return None
        written = header_length  # of the body, as JSON
        if header_length < 0 and head.form.body is Form.PROTOCOL:
            written = length
        if length > self._limit or written > HERE_BYTES:
            return None
        timeout_ns = None if milliseconds < 0 else in_ns(milliseconds)
        return KnownHead(head, end, length, header_length, timeout_ns, asked=asked)

    def _read(self, short: bytes) -> RequestHead:
        """What a short head says, whose numbers are all 0. Raises _LongWay."""
        read = _Reader()
        try:
            read.parser.feed_data(short)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise _LongWay from None
        target = TARGET.fullmatch(read.url)
        headers = Headers(raw=read.headers)
        if (
            target is None
            or not read.short
            or "content-length" not in headers
            or refusal(b"POST", "1.1", read.headers) is not None
            or self._hosts.refusal("POST", read.headers) is not None
        ):
            raise _LongWay
        try:
            form = read_headers(headers)
            engine, model, version = map(_unquoted, target.groups())
        except (TrtserveError, UnicodeDecodeError):
            raise _LongWay from None
        ref = engine or model or ""
        if form.coding is not None or "/" in ref or "/" in (version or ""):  # no path has a decoded slash
            raise _LongWay
        return RequestHead.of(ref, version, form, of_model=model is not None)


def route_of(target: str) -> str:
    """The route whose requests a short head's target is of, without what it names."""
    _, kind, *rest = target.split("/")
    if kind == "v2":
        return (
            "/v2/models/{name}/versions/{version}/infer"
            if "versions" in rest[2:]
            else "/v2/models/{name}/infer"
        )
    return f"/{kind}/{{ref}}/infer"


def _unquoted(part: bytes | None) -> str | None:
    return None if part is None else unquote(part.decode("ascii"), errors="strict")


class _Reader:
    """Reads one head; httptools calls its methods."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.short = False  # a POST over HTTP/1.1 on a connection that stays open

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # Asked here, because after a message without a body the parser forgets its `Connection: close`.
        self.short = (
            self.parser.should_keep_alive()
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
        )
