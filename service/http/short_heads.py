"""The heads of requests that the short way is for, looked up by their bytes."""

import re
from urllib.parse import unquote

import httptools
from starlette.datastructures import Headers

from trtserve.codec import Form
from trtserve.errors import TrtserveError
from trtserve.http.allowed_hosts import AllowedHosts
from trtserve.http.connection import MOST_HEAD_BYTES, refusal
from trtserve.http.headers import read_headers
from trtserve.inference.calls import HERE_BYTES, RequestHead

BEGIN = (b"POST /engines/", b"POST /v2/models/")
# The paths of the routes in routes.infer: what is asked, and its version in the second kind.
TARGET = re.compile(rb"/(?:engines/([^/?#]+)|v2/models/([^/?#]+)(?:/versions/([^/?#]+))?)/infer")
HEAD_BYTES = 4096  # of a head that is kept
HEADS = 256  # kept
LENGTH_DIGITS = 18  # of a length that a body can have
UNUSUAL = {b"transfer-encoding", b"expect", b"upgrade"}


class KnownHead:
    """A head that the short way is for, and the length of its body."""

    __slots__ = ("head", "length")

    def __init__(self, head: RequestHead, length: int) -> None:
        self.head = head
        self.length = length


class KnownHeads:
    """Belongs to the event loop. What it keeps is bounded in number and size, whatever clients send."""

    def __init__(self, limit: int, hosts: AllowedHosts) -> None:
        """`limit` is that of a body in bytes; what it or `hosts` refuse is refused on the long way."""
        self._limit = limit
        self._hosts = hosts
        self._known: dict[bytes, KnownHead | None] = {}

    def look_up(self, raw: bytes) -> KnownHead | None:
        """What a head of these bytes, up to its empty line, says; None where the short way is not for it."""
        try:
            return self._known[raw]
        except KeyError:
            pass
        if not raw.startswith(BEGIN) or len(raw) > MOST_HEAD_BYTES:
            return None
        known = self._read(raw)
        if len(raw) <= HEAD_BYTES:
            if len(self._known) >= HEADS:
                self._known.clear()
            self._known[raw] = known
        return known

    def _read(self, raw: bytes) -> KnownHead | None:
        read = _Reader()
        try:
            read.parser.feed_data(raw)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        target = TARGET.fullmatch(read.url)
        names = [name for name, _ in read.headers]
        if (
            target is None
            or not read.short
            or names.count(b"content-length") != 1
            or not UNUSUAL.isdisjoint(names)
            or refusal(b"POST", "1.1", read.headers) is not None
            or self._hosts.refusal("POST", read.headers) is not None
        ):
            return None
        headers = Headers(raw=read.headers)
        length = headers["content-length"]
        if not length.isdecimal() or len(length) > LENGTH_DIGITS or int(length) > self._limit:
            return None
        try:
            form = read_headers(headers)
            if form.coding is not None:
                return None
            engine, model, version = map(_unquoted, target.groups())
        except (TrtserveError, UnicodeDecodeError):
            return None
        ref = engine or model or ""
        if "/" in ref or "/" in (version or ""):  # no part of a path, once it is decoded: there is nothing
            return None
        head = RequestHead.of(ref, version, form, of_model=model is not None)
        return None if _written(head, int(length)) > HERE_BYTES else KnownHead(head, int(length))


def _written(head: RequestHead, length: int) -> int:
    """How much of a body of that length is JSON."""
    if head.header_length >= 0:
        return head.header_length
    return length if head.form.body is Form.PROTOCOL else 0


def _unquoted(part: bytes | None) -> str | None:
    return None if part is None else unquote(part.decode("ascii"), errors="strict")


class _Reader:
    """Reads one head; what httptools calls while it does."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.short = False  # POST of HTTP/1.1 on a connection that stays open

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        # Asked now: after a message without a body the parser has forgotten its `Connection: close`.
        self.short = (
            self.parser.should_keep_alive()
            and self.parser.get_method() == b"POST"
            and self.parser.get_http_version() == "1.1"
        )
