"""HTTP for inference, ahead of the framework: uvicorn's protocol with a short way for most of the traffic.

A POST to an engine's `infer` whose head is complete and ordinary is answered from here: no task, no ASGI
messages, no routing, and the body goes into one buffer from which it is never copied in Python. Every other
request, also an inference with anything unusual about it, goes the whole way through uvicorn and the
application, which knows the same routes: what is refused there is refused with the same sentences. So this is
an optimisation and nothing else; take it out and the service answers the same.

The head of a request is looked up by its bytes first, and parsed (by httptools, as all others) if it is new.
"""

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import httptools
import numpy as np
from starlette.datastructures import Headers
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from runtime_ext import Completion, Error
from service import codec, problems
from service.codec import Body
from service.errors import TrtserveError
from service.inference import Call, Head, Inference, all_binary
from service.inflight import InflightBytes

logger = logging.getLogger(__name__)

END = b"\r\n\r\n"
TARGET = re.compile(rb"/engines/([^/?#]+)/infer")
HEAD_BYTES = 4096  # of a head that is kept
HEADS = 256  # kept
RENDERED = 64  # output shapes whose answers are kept for a template
ALIGNMENT = 64  # bytes; where a body's tensors begin, so that they can be used where they lie
OURS = {b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"connection"}


class KnownHead:
    """A head that the short way is for, and the length of its body."""

    __slots__ = ("head", "length")

    def __init__(self, head: Head, length: int) -> None:
        self.head = head
        self.length = length


class ShortWay:
    """What the connections of a server share. Belongs to the event loop."""

    def __init__(self, inference: Inference, inflight: InflightBytes, errors: Any, limit: int) -> None:
        """`errors` counts the errors that are answered, by code; `limit` is that of a body in bytes."""
        self.inference = inference
        self.inflight = inflight
        self.errors = errors
        self._limit = limit
        self._heads: dict[bytes, KnownHead | None] = {}
        self._default_headers: Any = None
        self._ok = b""

    def known(self, raw: bytes) -> KnownHead | None:
        """What a head of these bytes says; None where it is not for the short way."""
        try:
            return self._heads[raw]
        except KeyError:
            known = self._read(raw)
        if len(raw) <= HEAD_BYTES:
            if len(self._heads) >= HEADS:
                self._heads.clear()
            self._heads[raw] = known
        return known

    def _read(self, raw: bytes) -> KnownHead | None:
        read = _HeadReader()
        parser = httptools.HttpRequestParser(read)
        try:
            parser.feed_data(raw)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            return None
        target = TARGET.fullmatch(read.url)
        names = [name for name, _ in read.headers]
        if (
            target is None
            or parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
            or names.count(b"content-length") != 1
            or not OURS.isdisjoint({*names} - {b"content-length", b"connection"})
        ):
            return None
        headers = Headers(raw=read.headers)
        length = headers["content-length"]
        if not length.isascii() or not length.isdecimal() or len(length) > 18 or int(length) > self._limit:
            return None
        try:
            form = codec.read_headers(headers)
            ref = unquote(target.group(1).decode("ascii"), errors="strict")
        except (TrtserveError, UnicodeDecodeError):
            return None
        return KnownHead(Head.of(ref, form), int(length))

    def ok(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """How a good answer begins. uvicorn makes the list anew when its date changes."""
        if default_headers is not self._default_headers:
            self._ok = STATUS_LINE[200] + _lines(default_headers)
            self._default_headers = default_headers
        return self._ok


class InferProtocol(HttpToolsProtocol):
    """One connection. The ASGI lifespan's state has the server's `short_way`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._short: ShortWay = self.app_state["short_way"]
        self._in_parser = 0  # messages that uvicorn has begun to read and not read to their end
        self._call: Call | None = None  # the request on the short way, once its body is here
        self._body: _Body | None = None  # or its body, until then
        self._share = 0  # bytes of it that are counted as under way
        self._early = b""  # what came behind a request that is not answered yet
        self._closing = False  # after the answer
        self._active = 0.0  # when the last answer was written: loop time
        self._idle_timer: asyncio.TimerHandle | None = None

    # -- in

    def data_received(self, data: bytes) -> None:
        if self._call is not None:
            self._early += data
            self.flow.pause_reading()
            return
        if self._in_parser == 0 and (self.cycle is None or self.cycle.response_complete):
            end = data.find(END)
            if end >= 0 and self._begin(data, end + 4):
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        self._in_parser += 1
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._in_parser -= 1
        super().on_message_complete()

    def _begin(self, data: bytes, end: int) -> bool:
        """Take the request whose head ends at `end`; False where it is not for the short way."""
        known = self._short.known(data[:end])
        if known is None:
            return False
        try:
            self._short.inflight.take(known.length)
        except TrtserveError:
            return False
        self._share = known.length
        self._unset_keepalive_if_required()
        missing = end + known.length - len(data)
        if missing > 0:
            self._body = _Body(self, known, memoryview(data)[end:])
            self._read_into(self._body)
        else:
            if missing < 0:
                self._early = data[missing:]
                data = data[:missing]
                self.flow.pause_reading()
            self._run(known.head, data, end)
        return True

    def _read_into(self, body: "_Body") -> None:
        # Whoever reads is looked at when reading begins, so it begins anew.
        self.transport.pause_reading()
        self.transport.set_protocol(body)
        self.transport.resume_reading()

    def body_complete(self, body: "_Body") -> None:
        self._body = None
        self.transport.pause_reading()
        self.transport.set_protocol(self)
        self.transport.resume_reading()
        self._run(body.known.head, body.view, 0)

    def _run(self, head: Head, body: Body, offset: int) -> None:
        try:
            self._call = self._short.inference.start(head, body, offset, self._done)
        except Exception as failure:
            self._refuse(failure)

    # -- out

    def _done(self, completion: Completion) -> None:
        call = self._call
        assert call is not None, "a completion comes once, and not after abandon()"
        self._call = None
        try:
            parts = self._rendered(call, completion) if completion.kind is None else None
            if parts is None:
                body, headers = self._short.inference.answer(call, completion)
                parts = [_tail(headers, body), *body]
        except Exception as failure:
            self._refuse(failure)
            return
        self._write(self._short.ok(self.server_state.default_headers), parts)

    def _rendered(self, call: Call, completion: Completion) -> list[Body] | None:
        """The answer of a request like one that was answered before; None for another."""
        template = call.template
        if template is None or not all_binary(call):
            return None
        shapes = completion.shapes
        tail = template.rendered.get(shapes)
        if tail is None:
            body, headers = self._short.inference.answer(call, completion)
            if len(template.rendered) >= RENDERED:
                template.rendered.clear()
            tail = template.rendered[shapes] = _tail(headers, body) + body[0]
        return [tail, *(completion.data(index) for index, _ in call.selected)]

    def _refuse(self, failure: Exception) -> None:
        if not isinstance(failure, (TrtserveError, Error)):
            logger.error("inference failed", exc_info=failure)
        status, code, headers, body = problems.render(failure)
        self._short.errors.labels(code).inc()
        begin = STATUS_LINE[status] + _lines(self.server_state.default_headers)
        self._write(begin, [_tail(headers, [body]), body])

    def _write(self, begin: bytes, parts: list[Body]) -> None:
        self._short.inflight.give_back(self._share)
        self._share = 0
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self._closing:
            begin += b"connection: close\r\n"
        if sum(map(len, parts)) <= 65536:
            self.transport.write(b"".join((begin, *parts)))
        else:
            self.transport.writelines([begin, *parts])
        if self._closing:
            self.transport.close()
            return
        self._keep_alive()
        if self._early:
            early, self._early = self._early, b""
            self.loop.call_soon(self._go_on, early)
        elif not self.flow.write_paused:
            self.flow.resume_reading()

    def _go_on(self, early: bytes) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.data_received(early)

    # -- the connection's life

    def _keep_alive(self) -> None:
        """Close the connection once it has been idle: one timer that looks back, not one a request."""
        self._active = self.loop.time()
        if self._idle_timer is None:
            self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look_back)

    def _look_back(self) -> None:
        self._idle_timer = None
        in_use = self._call is not None or self._body is not None or self._in_parser > 0
        in_use = in_use or (self.cycle is not None and not self.cycle.response_complete)
        if in_use or self.transport.is_closing():
            return
        left = self._active + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._idle_timer = self.loop.call_later(left, self._look_back)
        elif self.timeout_keep_alive_task is None:
            self.transport.close()

    def shutdown(self) -> None:
        if self._call is not None or self._body is not None:
            self._closing = True
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._call is not None:
            self._short.inference.abandon(self._call)
            self._call = None
            self._short.errors.labels("Cancelled").inc()
        self._body = None
        self._short.inflight.give_back(self._share)
        self._share = 0
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.flow.pause_reading()  # who does not take answers makes no more requests

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self._early and self._call is None:
            self.flow.resume_reading()


class _Body(asyncio.BufferedProtocol):
    """Reads the rest of a body into one buffer, and then gives the connection back."""

    def __init__(self, owner: InferProtocol, known: KnownHead, begun: memoryview) -> None:
        self._owner = owner
        self.known = known
        # Not filled before it is read into; and begun so that the first tensor is aligned.
        buffer = np.empty(known.length + ALIGNMENT, np.uint8)
        first = -(buffer.ctypes.data + max(0, known.head.header_length)) % ALIGNMENT
        self.view = memoryview(buffer.data)[first : first + known.length]
        self._received = len(begun)
        self.view[: len(begun)] = begun

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view[self._received :]

    def buffer_updated(self, nbytes: int) -> None:
        self._received += nbytes
        if self._received == len(self.view):
            self._owner.body_complete(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        self._owner.resume_writing()


class _HeadReader:
    """What httptools calls while it parses a head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


def _lines(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % header for header in headers)


def _tail(headers: Mapping[str, str], body: list[Body]) -> bytes:
    """The headers of an answer's own, up to its body."""
    own = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    own.append((b"content-length", b"%d" % sum(map(len, body))))
    return _lines(own) + b"\r\n"
