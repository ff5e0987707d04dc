"""HTTP for inference, ahead of the framework: uvicorn's protocol with a short way for most requests.

A POST to an engine's `infer` whose head is complete and ordinary is answered here: no task, no ASGI messages,
no routing, and the body goes into one buffer, which Python never copies. Every other request, including an
inference with anything unusual about it, takes the long way through uvicorn and the application, which has
the same routes and refuses with the same sentences. So this is only an optimisation: without it the service
gives the same answers.

A head is looked up by what matters in it, so heads that differ in anything else are one (see short_heads).
Above 400 lines, because uvicorn's protocol is one object, and what happens to a connection changes its state.
"""

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from runtime_ext import Completion
from trtserve.access.guard import Guard
from trtserve.codec import Body
from trtserve.errors import TrtserveError
from trtserve.failures import is_fault
from trtserve.http import error_answers
from trtserve.http.allowed_hosts import AllowedHosts
from trtserve.http.backlog import Backlog
from trtserve.http.bodies import stalled
from trtserve.http.connection import lines
from trtserve.http.connection_limits import Connections, Phase, Standing
from trtserve.http.content_coding import compressed, compressed_here, is_short
from trtserve.http.short_body import ShortBody
from trtserve.http.short_heads import KnownHead, KnownHeads
from trtserve.http.short_observed import ShortObserved
from trtserve.http.stopping import unfinished
from trtserve.http.timed import TimedHttp
from trtserve.inference.call import Call
from trtserve.inference.calls import Inference
from trtserve.inference.inflight import InflightBytes, KeptOutputs, Untaken
from trtserve.inference.recent import Recent
from trtserve.settings import Settings
from trtserve.telemetry.observer import Observer

if TYPE_CHECKING:
    import asyncio

    from trtserve.inference.templates import Template

logger = logging.getLogger(__name__)

RENDERED = 4096  # answers that are kept, by template and output shapes
OWN_HEADERS = 64  # kept: sets of headers that answers have of their own
RENDERED_BYTES = 4096  # of an answer without its blobs; a longer one is not kept
JOINED_BYTES = 65536  # of an answer; a longer one is not joined before it is written


class ShortWay:
    """What the connections of a server share. Belongs to the event loop."""

    def __init__(
        self,
        inference: Inference,
        inflight: InflightBytes,
        errors: Any,
        settings: Settings,
        guard: Guard | None = None,
        *,
        observer: Observer | None = None,
    ) -> None:
        """`errors` is the counter of error answers, by code; without a `guard`, nobody needs a token."""
        self.inference = inference
        self.inflight = inflight
        self.observer = Observer(settings) if observer is None else observer
        self.kept = KeptOutputs(inflight)
        self.errors = errors
        self.body_timeout_s = settings.body_timeout_s
        self.heads = KnownHeads(
            settings.max_request_bytes,
            AllowedHosts.of(settings),
            guard,
            cors=bool(settings.cors_origins),
            asked=self.observer.names,
        )
        self.known = self.heads.look_up
        self.rendered: Recent[tuple[Template, object], bytes] = Recent(RENDERED)
        self.connections = Connections(settings)
        self._default_headers: Any = None
        self._ok = b""

    def ok(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The start of a successful answer. uvicorn makes a new list when its date changes."""
        if default_headers is not self._default_headers:
            self._ok = STATUS_LINE[200] + lines(default_headers)
            self._default_headers = default_headers
        return self._ok

    def stop(self) -> None:
        """Refuse the requests still in progress: the drain time is over. uvicorn cancels only its own."""
        for connection in self.connections.open():
            connection.give_up()


class InferProtocol(TimedHttp):
    """One connection. The ASGI lifespan's state holds the server's `short_way`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._short: ShortWay = self.app_state["short_way"]
        self._call: Call | None = None  # the request on the short way, once its body is complete
        self._body: ShortBody | None = None  # until then, its body
        self._observed = ShortObserved(self._short.observer)
        self._share = 0  # bytes of the body that count as in flight
        self._untaken: Untaken | None = None  # the last answer, if it was too long to be sent at once
        self._backlog: Backlog | None = None  # over TLS, what is left of the last answer
        self._coding: str | None = None  # the coding that the client wants for the answer
        self._finishing: asyncio.Task[None] | None = None  # makes an answer that takes long
        self._stalled = False  # reading is paused until the client has received its answers
        self._closing = False  # close the connection after the answer

    # -- in

    def data_received(self, data: bytes) -> None:
        if self._call is not None:
            self._early += data
            self.flow.pause_reading()
            return
        if self._in_parser == 0 and not self._early and (self.cycle is None or self.cycle.response_complete):
            known = self._short.known(data)
            if known is not None and self._begin(data, known):
                return
        super().data_received(data)

    def _begin(self, data: bytes, known: KnownHead) -> bool:
        """Take the request at the start of `data`; False if it must take the long way."""
        end = known.end
        missing = end + known.length - len(data)
        inflight = self._short.inflight
        body = None
        try:
            if missing > 0:
                self._short.inference.check(known.head, known.length, known.header_length)
                inflight.check(known.length, known.length)
                body = ShortBody(self, known, memoryview(data)[end:])
            self._share = len(data) - end if missing > 0 else known.length
            inflight.take(self._share, known.length)
        except (TrtserveError, MemoryError):
            self._share = 0
            return False
        self._number += 1
        observer, asked = self._short.observer, known.asked
        if asked or (observer.on and (observer.draws() if asked is None else observer.draws_declined())):
            self._observed.begin(known, data)
        if body is not None:
            self._body = body
            self.transport.set_protocol(body)
        else:
            if missing < 0:
                self._early = data[missing:]
                data = data[:missing]
                self.flow.pause_reading()
            self._run(known, data, end)
        return True

    def body_came(self, body: "ShortBody", nbytes: int) -> None:
        """Count `nbytes` more of the body; if there is no room for them, refuse the request at once."""
        try:
            self._short.inflight.take(nbytes, body.known.length)
        except TrtserveError as full:
            body.drop()
            self._refuse(full)
        else:
            self._share += nbytes

    def body_dropped(self) -> None:
        """The whole body of a request that is already answered has arrived."""
        self._take_back()

    def body_complete(self, body: "ShortBody") -> None:
        self._take_back()
        self._run(body.known, body.view, 0)

    def body_stalled(self) -> None:
        """Refuse the request, and end the connection, because more of the body may still arrive."""
        self._take_back()
        self._closing = True
        self._refuse(stalled(self._short.body_timeout_s))

    def _take_back(self) -> None:
        """Take the connection back from the body."""
        if self._body is not None:
            self._body = None
            self.transport.set_protocol(self)

    def _run(self, known: KnownHead, body: Body, offset: int) -> None:
        head = known.head
        self._coding = head.form.answer_coding
        try:
            self._call = self._short.inference.start(
                head, body, offset, self._done, header_length=known.header_length, timeout_ns=known.timeout_ns
            )
        except Exception as failure:
            self._refuse(failure)

    # -- out

    def _done(self, completion: Completion) -> None:
        call = self._call
        assert call is not None, "a completion comes once, and not after abandon()"
        if completion.kind is not None:
            self._observed.fails()
        if self._observed.request is not None:
            self._observed.request.completed(call, completion)
        try:
            parts = self._rendered(call, completion) if completion.kind is None else None
            if parts is None:
                answer = self._short.inference.answer(call, completion)
                if answer is None or (self._coding is not None and not is_short(answer[0])):
                    self._finishing = self.loop.create_task(self._finish(call, completion))
                    return
                body, headers = answer
                if self._coding is not None:
                    content, headers = compressed_here(body, headers, self._coding)
                    body = [content]
                parts = [_tail(headers, body), *body]
        except Exception as failure:
            self._call = None
            self._refuse(failure)
            return
        self._call = None
        self._write(self._short.ok(self.server_state.default_headers), parts, completion)

    async def _finish(self, call: Call, completion: Completion) -> None:
        """Make an answer in a thread, and write it. Until then its request is in progress."""
        try:
            body, headers = await self._short.inference.answer_long(call, completion)
            if self._coding is not None:
                content, headers = await compressed(body, headers, self._coding)
                body = [content]
        except Exception as failure:
            self._call = None
            self._refuse(failure)
            return
        self._call = None
        self._write(self._short.ok(self.server_state.default_headers), [_tail(headers, body), *body])

    def _rendered(self, call: Call, completion: Completion) -> list[Body] | None:
        """The answer to a request like an earlier one, from the template; None for any other request."""
        template = call.template
        if template is None or not template.alike:
            return None
        key = (template, completion.shapes)
        tail = self._short.rendered.get(key)
        if tail is None:
            answer = self._short.inference.answer(call, completion)
            assert answer is not None, "no output is written as JSON"
            body, headers = answer
            tail = _tail(headers, body) + body[0]
            if len(tail) <= RENDERED_BYTES:
                self._short.rendered.put(key, tail)
        return [tail, *(completion.data(index) for index, _ in call.selected)]

    def _refuse(self, failure: Exception) -> None:
        if is_fault(failure):
            logger.error("inference failed", exc_info=failure)
        self._observed.fails()
        status, code, headers, body = error_answers.render(failure)
        self._short.errors.labels(code).inc()
        begin = STATUS_LINE[status] + lines(self.server_state.default_headers)
        self._write(begin, [_tail(headers, [body]), body], failed=(status, code))

    def _write(
        self,
        begin: bytes,
        parts: list[Body],
        completion: Completion | None = None,
        *,
        failed: tuple[int, str] | None = None,
    ) -> None:
        """Write an answer. `completion` is the one whose outputs are among the parts; `failed`: status and
        kind of an error."""
        self._short.inflight.give_back(self._share)
        self._share = 0
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._observed.nobody_waits()
            return
        if self._observed.request is not None:
            begin += self._observed.end(parts, failed)
        if self._closing or self._connections.leaving:
            self._closing = True
            begin += b"connection: close\r\n"
        size = sum(map(len, parts))
        if size <= JOINED_BYTES:
            self.transport.write(b"".join((begin, *parts)))
        elif not self._write_long([begin, *parts]) and self._untaken is None:
            memory = (-id(self), size) if completion is None else completion.memory
            self._untaken = Untaken(self._short.kept, memory)
            if self._backlog is None:
                # So that resume_writing() is called when nothing is left.
                self.transport.set_write_buffer_limits(high=0)
        if self._closing:
            if self._backlog is None:
                self.transport.close()
            return
        flow = self.flow
        if flow.write_paused:  # a client that does not read its answers gets no more requests in
            self._stalled = True
            flow.pause_reading()
        elif flow.read_paused:
            self.loop.call_soon(self._go_on)
        if self._ended:
            self.loop.call_soon(self.end_if_answered)  # after _go_on, which may begin the next request

    def _write_long(self, parts: list[Body]) -> bool:
        """Write a long answer; False if the client has not taken all of it yet."""
        if self.scheme != "https":
            self.transport.writelines(parts)
            return self.transport.get_write_buffer_size() == 0
        self.transport.set_write_buffer_limits(high=1, low=0)
        self._backlog = Backlog(self.transport, parts)
        return self._hand_over()

    def _hand_over(self) -> bool:
        """Hand over what is left of the last answer; False if the client has not taken all of it yet."""
        if self._backlog is None:
            return True
        if not self._backlog.hand_over():
            return False
        self._backlog = None
        self.transport.set_write_buffer_limits()
        return True

    # -- the connection's life

    def owes(self) -> bool:
        return self._call is not None or self._backlog is not None or super().owes()

    def _unsent(self) -> int:
        return super()._unsent() + (0 if self._backlog is None else self._backlog.nbytes)

    def standing(self) -> Standing:
        """What the connection waits for now. Abort it if its unread answer has outstayed its room."""
        if self._untaken is not None and not self._untaken.has_room():
            self._short.errors.labels("Unavailable").inc()
            self.transport.abort()
        return super().standing()

    def _awaited(self) -> Standing:
        if self._body is not None:
            return Standing(
                Phase.REST if self._body.dropped else Phase.BODY, self._number, self._body.received
            )
        return super()._awaited()

    def end_late(self, phase: Phase) -> bool:
        if phase is not Phase.BODY:
            return super().end_late(phase)
        self.body_stalled()
        return True

    def _takes_body(self) -> bool:
        """True if a request in progress still waits for the rest of its body."""
        return self._body is not None and not self._body.dropped

    def shutdown(self) -> None:
        if self._call is not None or self._backlog is not None or self._takes_body():
            self._closing = True
        else:
            super().shutdown()

    def give_up(self) -> None:
        """Refuse the request in progress, if any, and end the connection."""
        if self._abandon():
            self._closing = True
            self._refuse(unfinished())

    def _abandon(self) -> bool:
        """Abandon the request in progress; False if there was none."""
        if self._call is None and not self._takes_body():
            return False
        if self._call is not None:
            self._short.inference.abandon(self._call)
            self._call = None
        if self._finishing is not None:
            self._finishing.cancel()
        self._take_back()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._abandon():
            self._short.errors.labels("Cancelled").inc()
            self._observed.nobody_waits()
        self._short.inflight.give_back(self._share)
        self._share = 0
        self._backlog = None
        if self._untaken is not None:
            self._untaken.end()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._backlog is not None:
            if not self._hand_over():
                return  # pause_writing() has been called again
            if self._closing:
                self.transport.close()
        if self._untaken is not None:
            self._untaken.end()
            self._untaken = None
            self.transport.set_write_buffer_limits()
        if self._stalled:
            self._stalled = False
            self.loop.call_soon(self._go_on)


def _tail(headers: Mapping[str, str], body: list[Body]) -> bytes:
    """The answer's own headers, up to its body."""
    return b"%bcontent-length: %d\r\n\r\n" % (_own(tuple(headers.items())), sum(map(len, body)))


@lru_cache(OWN_HEADERS)
def _own(headers: tuple[tuple[str, str], ...]) -> bytes:
    """An answer's own headers except its length, which are the same for most answers."""
    return lines((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers)
