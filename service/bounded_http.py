"""uvicorn's HTTP protocol with a bound on heads, and with answers of our form to what is no HTTP."""

import sys
from collections.abc import Iterable
from typing import Any

from httptools import HttpParserCallbackError
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service import problems
from service.errors import InvalidInput

MOST_HEAD_BYTES = 65_536  # of a request's line and headers, its trailers included
HEADER_BYTES = 3  # of a header besides its name and its value, at least


class BoundedHttp(HttpToolsProtocol):
    """One connection. The ASGI lifespan's state has the server's `short_way`, and that has `errors`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._errors = self.app_state["short_way"].errors
        self._head_bytes = 0  # that the parser has told of, of the request that it reads
        # That it was given since it last told of anything: of a line without an end, which it keeps itself.
        self._untold_bytes = 0

    def data_received(self, data: bytes) -> None:
        self._untold_bytes += len(data)
        super().data_received(data)
        if self._head_bytes + self._untold_bytes > MOST_HEAD_BYTES and not self.transport.is_closing():
            self._refuse_head()

    def send_400_response(self, msg: str) -> None:
        """Called where the parser raised: it read what is no HTTP, or one of the methods below did."""
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse_head()
            return
        failure = sys.exception()
        reason = "its target is no path" if isinstance(failure, HttpParserCallbackError) else str(failure)
        self._end(
            400,
            f"What came cannot be read as HTTP/1.1: {reason}. Look at the request line and the headers that "
            "the client sends.",
        )

    def _refuse_head(self) -> None:
        self._end(
            431,
            f"The request's line and headers are over {MOST_HEAD_BYTES} bytes, the most that this server "
            "takes: send fewer or shorter ones.",
        )

    def _end(self, status: int, sentence: str) -> None:
        """Refuse the request with this status, and end the connection."""
        _, code, headers, body = problems.render(InvalidInput(sentence))
        self._errors.labels(code).inc()
        own = [(name.encode(), value.encode()) for name, value in headers.items()]
        own += [(b"content-length", b"%d" % len(body)), (b"connection", b"close")]
        begin = STATUS_LINE[status] + lines([*self.server_state.default_headers, *own])
        self.transport.write(begin + b"\r\n" + body)
        self.transport.close()

    # -- what the parser tells of

    def on_message_begin(self) -> None:
        self._head_bytes = self._untold_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + HEADER_BYTES)
        super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        self._untold_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._untold_bytes = 0
        super().on_message_complete()

    def _count(self, size: int) -> None:
        """Raises InvalidInput where that is too much, so that the parser reads on no further."""
        self._head_bytes += size
        self._untold_bytes = 0
        if self._head_bytes > MOST_HEAD_BYTES:
            raise InvalidInput("The head is too long.")


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they go over the wire."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)
