"""One connection over gRPC: its input and output, its calls, and how long it may wait for its client.

Above 400 lines, because its calls, its limits and its times all change the state at its top.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from runtime_ext import GrpcMessage, GrpcSession
from trtserve.errors import (
    BodyStalled,
    Cancelled,
    DeadlineExceeded,
    InvalidInput,
    TrtserveError,
    Unavailable,
    stopping,
)
from trtserve.failures import Told
from trtserve.inference.patience import Patience
from trtserve.rpc import methods, status
from trtserve.rpc.authorize import check_call
from trtserve.rpc.delivery import TAKEN_BYTES_S
from trtserve.rpc.fast.calls import OpenCall, StreamInfer, UnaryInfer
from trtserve.rpc.fast.coding import too_large
from trtserve.rpc.fast.handled import NO_MESSAGE
from trtserve.rpc.fast.inferring import CallHead
from trtserve.tls.door import address_of

if TYPE_CHECKING:
    from trtserve.rpc.fast.server import FastServer

OPENED, MESSAGE, HALF_CLOSED, LEFT, TOO_LARGE, MALFORMED, INFER, INFER_TOLD = range(8)
"""The kinds of a session's events."""
CLOSES_WITHIN_S = 5.0  # a client, once our side is closed
CHUNK = 262_144  # bytes put out at a time
MODEL_INFER = f"/{methods.SERVICE.full_name}/ModelInfer"
NO_ERROR, SETTINGS_TIMEOUT = 0, 4  # of HTTP/2


class Connection(asyncio.BufferedProtocol):
    """Belongs to the event loop."""

    def __init__(self, server: "FastServer") -> None:
        self._server = server
        self._shared = server.shared
        self.session: GrpcSession = server.new_session()
        self._transport: Any = None
        self._address: str | None = None  # the client's
        self._calls: dict[int, OpenCall] = {}
        # With a guard: the tokens of calls of ModelInfer that may begin, until their message comes.
        self._admitted: dict[int, bytes | None] = {}
        self._held = 0  # bytes of messages that are not whole, as they count
        self._late: dict[
            int, tuple[int, Patience]
        ] = {}  # calls with such messages: bytes received, and patience
        self._flushing = False  # a flush is on its way
        self._paused = False  # the client takes no output
        self._noticed: str | None = None  # why the client is to open no more calls
        self.lost = False
        self._closed: float | None = None  # when our side was closed
        now = time.monotonic()
        self.opened = now
        self._received = now  # when bytes came last
        self._used = now  # when there was a call last
        self._pings = 0
        self._pinged: float | None = None  # when a ping was sent that is not acknowledged
        self._idle_pings = 0  # since anything was answered
        self._stuck: tuple[int, Patience] | None = None  # unwritten bytes at the last look

    # -- what asyncio calls

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        secure = transport.get_extra_info("sslcontext") is not None
        self._address = address_of(transport)
        if not self._server.add(self, self._address, placed=secure):
            self.lost = True
            transport.abort()
            return
        self._server.limit_unacknowledged(transport.get_extra_info("socket"))
        self.flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._server.buffer

    def buffer_updated(self, nbytes: int) -> None:
        now = time.monotonic_ns()
        self._received = now / 1e9
        session = self.session
        events = session.receive(self._server.buffer, nbytes, now)
        if session.held != self._held:
            self._count_held()
        if events:
            self._act(events)
        self.flush()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self.lost:
            return
        self.lost = True
        self._server.remove(self, self._address)
        for call in list(self._calls.values()):
            call.left(self._why_left(call))
        self._shared.inflight.give_back(self._held)
        self._held = 0

    def pause_writing(self) -> None:
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = False
        self._stuck = None
        self.flush()
        if not self._paused and not self.lost:
            self._transport.resume_reading()

    # -- in

    def _act(self, events: list[Any]) -> None:
        calls, guarded = self._calls, self._shared.guard is not None
        for kind, stream, payload, deadline_ns in events:
            if kind >= INFER:
                asked = None
                if kind == INFER_TOLD:
                    payload, asked = payload  # noqa: PLW2901
                if guarded and stream not in self._admitted:
                    continue  # it has been refused
                if self._server.stopping:
                    self.refuse(stream, stopping())
                    continue
                authorization = self._admitted.pop(stream) if guarded else None
                head = CallHead(deadline_ns, authorization, asked)
                call = calls[stream] = UnaryInfer(self, stream, self._shared, head)
                call.message(payload)
            elif kind == MESSAGE:
                if stream in calls:
                    calls[stream].message(payload)
            else:
                self._act_on(kind, stream, payload, deadline_ns)

    def _act_on(self, kind: int, stream: int, payload: Any, deadline_ns: int | None) -> None:
        call = self._calls.get(stream)
        if kind == OPENED:
            self._open(stream, payload, deadline_ns)
        elif call is None and self._shared.guard is not None and stream not in self._admitted:
            pass  # it has been refused
        elif kind == HALF_CLOSED:
            if call is not None:
                call.half_closed()
            else:
                self.refuse(stream, InvalidInput(NO_MESSAGE))
        elif kind == LEFT:
            self._admitted.pop(stream, None)
            if call is not None:
                call.left(self._why_left(call))
        elif kind == TOO_LARGE:
            self._end_call(stream, too_large("", payload, self._shared.most))
        else:
            self._end_call(stream, InvalidInput(f"The call is not valid gRPC: {payload}."))

    def _open(self, stream: int, path: str, deadline_ns: int | None) -> None:
        guard, authorization = self._shared.guard, None
        if guard is not None:
            authorization = self.session.authorization(stream)
            try:
                check_call(guard, path, authorization)
            except TrtserveError as failure:
                self.refuse(stream, failure)
                self._count_held()  # nothing of its message is kept
                return
            if path == MODEL_INFER:
                self._admitted[stream] = authorization
                return
        asked = self.session.told(stream)
        opened = self._server.open(self, stream, path, deadline_ns, authorization=authorization, asked=asked)
        if opened is not None:
            self._calls[stream] = opened

    def _end_call(self, stream: int, error: TrtserveError) -> None:
        """End a call because of what it sent; a stream first answers what it sent before."""
        self.session.ignore(stream)
        call = self._calls.get(stream)
        if call is None:
            self.refuse(stream, error)
        else:
            call.fail(error)

    def _count_held(self) -> None:
        """Count the bytes of messages that are not whole; refuse those for which there is no room."""
        session = self.session
        latest, others = session.latest, None
        while (more := session.held - self._held) > 0:
            try:
                self._shared.inflight.take(more, max(more, session.latest_size))
            except Unavailable as full:
                if others is None:
                    others = [stream for stream, _ in session.expecting() if stream != latest]
                    self._refuse_message(latest, full)
                elif others:
                    self._refuse_message(others.pop(), full)
                else:
                    break  # it counts all the same
            else:
                self._held += more
        self._shared.inflight.give_back(-more)
        self._held += more

    def _refuse_message(self, stream: int, full: Unavailable) -> None:
        """Refuse the message that a call is receiving; a stream goes on with the next one."""
        call = self._calls.get(stream)
        if isinstance(call, StreamInfer) and not call.last and self.session.skip(stream):
            call.refuse(full)
        else:
            self._end_call(stream, full)

    def _why_left(self, call: OpenCall) -> Cancelled | DeadlineExceeded:
        left = call.time_remaining()
        if left is not None and left <= 0:
            return DeadlineExceeded("The call's deadline has passed.")
        return Cancelled("The client left before the answer.")

    # -- out: what calls use

    def coding(self, stream: int, message: GrpcMessage) -> str:
        return self.session.coding(stream) if message.compressed else ""

    def count(self, kind: str) -> None:
        self._server.count(kind)

    def refuse(self, stream: int, error: Exception) -> None:
        self.tell(stream, status.tell(error, self._server.count))

    def tell(self, stream: int, told: Told, more: Sequence[tuple[str, str]] = ()) -> None:
        self._admitted.pop(stream, None)
        code, sentence, metadata = status.status(told)
        self.session.finish(stream, code.value[0], sentence, [*metadata, *more])

    def forget(self, stream: int) -> None:
        self._calls.pop(stream, None)

    def patience(self, size: int) -> Patience:
        return Patience(self._server.settings.write_timeout_s + size / TAKEN_BYTES_S)

    def flush_soon(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._server.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what the session puts out, as far as the client takes it."""
        self._flushing = False
        session = self.session
        while not (self._paused or self.lost or self._closed is not None):
            data = session.output(CHUNK)
            if data:
                self._transport.write(data)
            sent = session.sent()
            for stream in sent:
                if stream in self._calls:
                    self._calls[stream].sent()
            if sent and session.has_events:
                if session.held != self._held:
                    self._count_held()
                self._act(session.events())
            elif not data:
                break
        if self._noticed is not None and not session.calls and not session.ended:
            session.end(NO_ERROR, self._noticed, "")
            if not (self._paused or self.lost):
                self._transport.write(session.output(CHUNK))
        if session.ended:
            self._close()

    def _close(self) -> None:
        """Send no more, and wait until the client closes, so that it can read everything that was sent."""
        if self._closed is None and not (self.lost or self._paused):
            self._closed = time.monotonic()
            if not self._transport.can_write_eof():  # TLS says so itself, and waits for the client's own
                self._transport.close()
                return
            self._transport.write_eof()
            if self._noticed is None:  # the client has done something wrong, and may go on
                self._transport.pause_reading()

    # -- time

    def notice(self, reason: str) -> None:
        """Ask the client to open no more calls; the connection closes when it has none."""
        if self.lost or self._noticed is not None:
            return
        self._noticed = reason
        if self.session.calls:
            self.session.notice()
        self.flush()

    def stop(self) -> None:
        """The server stops: end the calls that would not end by themselves, and ask for no more."""
        for call in list(self._calls.values()):
            call.stop()
        self.notice("server_stops")

    def give_up(self, error: TrtserveError) -> None:
        """End the calls in progress, and the connection."""
        for stream, call in list(self._calls.items()):
            call.left(None)
            self.refuse(stream, error)
        if not self.lost:
            self.session.end(NO_ERROR, "", str(error))
            self.flush()

    def abort(self) -> None:
        if not self.lost:
            self._transport.abort()

    def look(self, now: float, passed: float) -> None:
        """Do what is due at `now`, by the monotonic clock; the loop was free for `passed` seconds."""
        session, settings = self.session, self._server.settings
        if self._closed is not None:
            if now - self._closed >= CLOSES_WITHIN_S:
                self.abort()
            return
        if session.calls:
            self._used = now
            self._look_at_calls(now, passed)
        elif now - self._used >= settings.grpc_max_connection_idle_s:
            self.notice("max_idle")
        if not session.settled and now - self.opened >= settings.header_timeout_s:
            session.end(SETTINGS_TIMEOUT, "settings_timeout", "The client has not acknowledged the settings.")
        self._look_at_output(passed)
        self._look_at_age(now)
        self._keep_alive(now)
        self.flush()

    def _look_at_calls(self, now: float, passed: float) -> None:
        session = self.session
        for stream, call in list(self._calls.items()):
            if not call.look(passed):
                self.count(BodyStalled.kind)
                session.reset(stream)
                call.left(None)
        for stream in session.overdue(int(now * 1e9)):
            error = DeadlineExceeded("The call's deadline has passed.")
            overdue = self._calls.get(stream)
            if overdue is not None:
                overdue.left(error)
                session.finish(stream, status.GRPC_STATUS[error.kind].value[0], str(error))
            else:
                self.refuse(stream, error)
        self._look_at_bodies(passed)

    def _look_at_bodies(self, passed: float) -> None:
        limit = self._server.settings.body_timeout_s
        before, self._late = self._late, {}
        for stream, received in self.session.expecting():
            had, patience = before.get(stream, (received, None))
            if patience is None:
                patience = Patience(limit)
            elif not patience.spend(passed, received - had):
                self._end_call(stream, _stalled(limit))
                continue
            self._late[stream] = received, patience

    def _look_at_output(self, passed: float) -> None:
        left = self._transport.get_write_buffer_size()
        if left == 0:
            self._stuck = None
        elif self._stuck is None:
            self._stuck = left, self.patience(left)
        else:
            had, patience = self._stuck
            self._stuck = left, patience
            if not patience.spend(passed, max(0, had - left)):
                self.abort()

    def _look_at_age(self, now: float) -> None:
        settings = self._server.settings
        most, grace = settings.grpc_max_connection_age_s, settings.grpc_max_connection_grace_s
        if most is None or now - self.opened < most:
            return
        self.notice("max_age")
        if now - self.opened >= most + (settings.drain_s if grace is None else grace):
            self.give_up(Unavailable("The connection has reached its greatest age: connect again."))

    def _keep_alive(self, now: float) -> None:
        settings, session = self._server.settings, self.session
        if session.answered():
            self._idle_pings = 0
        if self._pinged is not None:
            if session.pings_acknowledged == self._pings or self._received > self._pinged:
                self._pinged = None
            elif now - self._pinged >= settings.grpc_keepalive_timeout_s:
                self.abort()
            return
        most = settings.grpc_max_pings_without_data
        if now - self._received < settings.grpc_keepalive_time_s or (most and self._idle_pings >= most):
            return
        if session.calls or settings.grpc_keepalive_without_calls:
            session.ping()
            self._pings += 1
            self._idle_pings += 1
            self._pinged = now


def _stalled(limit: float) -> BodyStalled:
    return BodyStalled(
        f"The message has not arrived: for {limit:g} s nothing came, or too little. Send it faster, or raise "
        "--body-timeout-s (TRTSERVE_BODY_TIMEOUT_S)."
    )
