"""The heads of requests that may take the short way, looked up by their bytes."""

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
# The paths of the routes in routes.infer: an engine or a name; a model, which may have a version.
TARGET = re.compile(rb"/(?:engines/([^/?#]+)|v2/models/([^/?#]+)(?:/versions/([^/?#]+))?)/infer")
HEAD_BYTES = 4096  # a longer head is not kept
HEADS = 256  # the most that are kept
LENGTH_DIGITS = 18  # the most that a body's length has
UNUSUAL = {b"transfer-encoding", b"expect", b"upgrade"}


class KnownHead:
    """A head that may take the short way, and the length of its body in bytes."""

    __slots__ = ("head", "length")

    def __init__(self, head: RequestHead, length: int) -> None:
        self.head = head
        self.length = length


class KnownHeads:
    """The heads that were seen before. Belongs to the event loop; bounded, whatever clients send."""

    def __init__(self, limit: int, hosts: AllowedHosts) -> None:
        """`limit` bounds a body, in bytes; requests that it or `hosts` refuse take the long way."""
        self._limit = limit
        self._hosts = hosts
        self._known: dict[bytes, KnownHead | None] = {}

    def look_up(self, raw: bytes) -> KnownHead | None:
        """The head in `raw`, which ends with its empty line; None if it must take the long way."""
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
        if "/" in ref or "/" in (version or ""):  # a decoded slash: no such path exists
            return None
        head = RequestHead.of(ref, version, form, of_model=model is not None)
        return None if _written(head, int(length)) > HERE_BYTES else KnownHead(head, int(length))


def _written(head: RequestHead, length: int) -> int:
    """How many bytes of a body of this length are JSON."""
    if head.header_length >= 0:
        return head.header_length
    return length if head.form.body is Form.PROTOCOL else 0


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
