"""uvicorn's HTTP protocol with a bound on heads, and with answers in our form to malformed HTTP.

It supports no other protocol, so it ignores an `Upgrade` (RFC 9110, 7.8): what follows is the message's body.
The parser has no option for that and ends such a message after its head, so the head is parsed again without
the offer.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from trtserve.errors import HTTP_STATUS, InvalidInput, TrtserveError, Unsupported
from trtserve.http import error_answers

MOST_HEAD_BYTES = 65_536  # of a request's line, headers and trailers
HEADER_BYTES = 3  # the least that a header has besides its name and value
# These say how to read the body: two that differ make it ambiguous.
ONCE = {b"content-type", b"content-encoding", b"inference-header-content-length"}
ABSOLUTE = re.compile(rb"[a-zA-Z][a-zA-Z0-9+.-]*://([^/?#]*)")


class BoundedHttp(HttpToolsProtocol):
    """One connection. The ASGI lifespan's state holds the server's `short_way`, which has `errors`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._errors = self.app_state["short_way"].errors
        self._head_bytes = 0  # of the current request's head, as far as the parser has reported it
        # Given to the parser since its last report: an unfinished line, which the parser buffers.
        self._untold_bytes = 0
        self._refused: TrtserveError | None = None  # why the head just parsed is refused
        self._in_head = False  # False: the headers that the parser reports are trailers

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._untold_bytes += len(data)
        self._parse(data)
        if self._head_bytes + self._untold_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def _parse(self, data: bytes) -> None:
        left = memoryview(data)
        while True:
            try:
                self.parser.feed_data(left)
                return
            except httptools.HttpParserUpgrade as offer:
                left = left[offer.args[0] :]
            except httptools.HttpParserError as failure:
                self._refuse_message(failure)
                return
            head = self._head_without_offer()
            self.parser = _new_parser(self)
            self.parser.feed_data(head)  # cannot fail: the parser has accepted this head before

    def _head_without_offer(self) -> bytes:
        """The head that the parser has just read, without its offer of another protocol."""
        begin = b"%b %b HTTP/%b\r\n" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode(),
        )
        return begin + lines(header for header in self.headers if header[0] != b"upgrade") + b"\r\n"

    def _refuse_message(self, failure: Exception) -> None:
        """Refuse a message on which the parser, or one of the callbacks below, raised `failure`."""
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse_head()
            return
        if self._refused is not None:
            self._end(HTTP_STATUS[self._refused.kind], self._refused)
            return
        no_path = isinstance(failure, httptools.HttpParserCallbackError)
        reason = "its target is not a path" if no_path else str(failure)
        self._end(
            400,
            InvalidInput(
                f"The request is malformed HTTP/1.1: {reason}. Check the request line and the headers that "
                "the client sends."
            ),
        )

    def _refuse_head(self) -> None:
        self._end(
            431,
            InvalidInput(
                f"The request's line and headers are over {MOST_HEAD_BYTES} bytes, the most that this server "
                "accepts: send fewer or shorter ones."
            ),
        )

    def _end(self, status: int, failure: TrtserveError) -> None:
        """Refuse the request with this status, and end the connection."""
        _, code, headers, body = error_answers.render(failure)
        self._errors.labels(code).inc()
        own = [(name.encode(), value.encode()) for name, value in headers.items()]
        own += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        begin = STATUS_LINE[status] + lines([*self.server_state.default_headers, *own])
        self.transport.write(begin + b"\r\n" + body)
        self.transport.close()

    # -- callbacks of the parser

    def on_message_begin(self) -> None:
        self._head_bytes = self._untold_bytes = 0
        self._refused = None
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + HEADER_BYTES)
        if self._in_head:  # a trailer must not say how to read the body before it (RFC 9110, 6.5.1)
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        version = self.parser.get_http_version()
        self._refused = refusal(self.parser.get_method(), version, self.headers)
        if self._refused is not None:
            raise self._refused
        if self.parser.should_upgrade():  # the head is parsed again
            return
        if version == "1.0":  # its clients take an interim answer for the final one (RFC 9110, 10.1.1)
            self.expect_100_continue = False
        absolute = ABSOLUTE.match(self.url)
        if absolute is not None:  # it names the host, whatever `Host` says (RFC 9112, 3.2.2)
            self.headers[:] = [header for header in self.headers if header[0] != b"host"]
            self.headers.append((b"host", absolute[1]))
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._untold_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._untold_bytes = 0
        if self.parser.should_upgrade():
            return
        if not self.parser.should_keep_alive() and self.cycle is not None:
            self.cycle.keep_alive = False  # even if only a trailer says so: the parser reads no further
        super().on_message_complete()

    def _count(self, size: int) -> None:
        """Count bytes of the head; raise InvalidInput if they are too many, so that the parser stops."""
        self._head_bytes += size
        self._untold_bytes = 0
        if self._head_bytes > MOST_HEAD_BYTES:
            raise InvalidInput("The head is too long.")


def refusal(method: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> TrtserveError | None:
    """Why a message that the parser accepts is refused for its head, or None; names are in lower case.

    Two servers in a row must find the same end of a message, so any ambiguity is refused. The parser itself
    refuses the rest (two lengths, a length beside chunks, folded lines, bare line feeds).
    """
    if method == b"CONNECT":
        return Unsupported("The method CONNECT asks for a tunnel, but this server is not a proxy.")
    if version not in {"1.0", "1.1"}:
        return InvalidInput(f"The request's version is HTTP/{version}; send HTTP/1.1.")
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and version == "1.0":
        return InvalidInput("HTTP/1.0 has no Transfer-Encoding; send a Content-Length, or HTTP/1.1.")
    if codings and [coding.strip(b" \t").lower() for coding in codings] != [b"chunked"]:
        shown = b", ".join(codings).decode("latin-1")[:100]
        return Unsupported(
            f"The Transfer-Encoding is {shown!r}; send the body chunked and in no other coding."
        )
    if sum(name == b"host" for name, _ in headers) > 1:
        return InvalidInput("The request has more than one Host header; send one.")
    told: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in ONCE and told.setdefault(name, value) != value:
            return InvalidInput(f"The request has two {name.decode()} headers that differ; send one.")
    return None


def _new_parser(protocol: HttpToolsProtocol) -> httptools.HttpRequestParser:
    """A parser with the same settings as uvicorn's."""
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they are sent on the wire."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)
