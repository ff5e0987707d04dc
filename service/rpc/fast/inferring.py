"""One inference on its way: from its message to its answer."""

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

import grpc

from runtime_ext import Completion, GrpcMessage, GrpcSession
from trtserve.access.guard import Guard
from trtserve.access.scopes import INFERENCE
from trtserve.codec import LONGEST_NS
from trtserve.errors import Cancelled, DeadlineExceeded
from trtserve.inference.call import RequestHead
from trtserve.inference.calls import Inference
from trtserve.inference.inflight import InflightBytes, Share
from trtserve.rpc import response, status, wire
from trtserve.rpc.authorize import Metadata, metadata_of
from trtserve.rpc.fast.coding import decompressed, too_large
from trtserve.rpc.fast.known import Known, KnownRequests
from trtserve.rpc.infer import Infer
from trtserve.rpc.observing import METHOD
from trtserve.rpc.request import id_of
from trtserve.rpc.streams import STREAM_INFER
from trtserve.telemetry.asked import Asked
from trtserve.telemetry.observed import SUCCESS, Observed
from trtserve.telemetry.observer import Observer
from trtserve.workers import CODINGS

if TYPE_CHECKING:
    from trtserve.failures import Told
    from trtserve.inference.call import Call


OF_AN_ID = 2  # bytes that its field has besides it
INFER = "/inference.GRPCInferenceService/ModelInfer"


class Shared:
    """What the inferences of a server share. Belongs to the event loop."""

    def __init__(
        self,
        inference: Inference,
        inflight: InflightBytes,
        infer: Infer,
        count: status.Count,
        observer: Observer,
        *,
        most: int,
        guard: Guard | None = None,
    ) -> None:
        """`infer` answers unusual requests, `count` counts errors; `most`: bytes of a message. Without a
        `guard`, nobody needs a token."""
        self.guard = guard
        self.observer = observer
        self.count = count
        self.inference = inference
        self.inflight = inflight
        self.infer = infer
        self.most = most
        self.known = KnownRequests()


class CallHead(NamedTuple):
    """What the head of an inference's call says besides its method."""

    deadline_ns: int | None  # by the monotonic clock
    authorization: bytes | None
    asked: Asked | None  # what it asks for besides the answer


class Inferring(ABC):
    """One inference. Its bytes count as in flight until close(). Belongs to the event loop.

    A request like an earlier one goes straight to the queue; a task reads any other.
    """

    __slots__ = (
        "_authorization",
        "_began",
        "_call",
        "_completion",
        "_deadline_ns",
        "_head",
        "_known",
        "_message",
        "_parts",
        "_plain",
        "_shared",
        "_task",
        "observed",
        "share",
        "told",
    )

    def __init__(self, shared: Shared, head: CallHead) -> None:
        self._shared = shared
        self._deadline_ns, self._authorization, asked = head
        self._message: GrpcMessage | None = None
        self._known: Known | None = None
        self._call: Call | None = None  # submitted, and not ended
        self._task: asyncio.Task[None] | None = None
        self._completion: Completion | None = None
        self._head = b""
        self._parts: wire.Parts | None = None  # the answer of a task
        self.told: Told | None = None  # an error instead of an answer
        self._plain: bytes | None = None  # the message that a task has read
        self.share = Share(shared.inflight)
        self.observed: Observed | None = None  # the request, if somebody wants to know of it
        self._began = 0
        observer = shared.observer
        if asked is not None or (observer.on and observer.draws()):
            self.observed = observer.begin(asked)
            self._began = observer.clock() if observer.remembers else 0

    of_stream = False

    @abstractmethod
    def ended(self) -> None:
        """The answer, or the error, is there."""

    def start(self, message: GrpcMessage, coding: str) -> None:
        """Begin; `coding` is that of a compressed message. Ends at once if the request is refused."""
        self._message = message
        shared = self._shared
        if self.observed is not None:
            self._says(self.observed, len(message))
        try:
            self.share.grow_to(len(message))
            key = message.key
            known = shared.known.get(key) if key else None
            if known is not None:
                self._check(known.head)
                # Before it is made: many large answers may be made before the first is looked at.
                self.share.grow_to(known.answer_bytes)
                self._submit(known, message)
            if self._call is None:
                self._read(key, message, coding)
        except Exception as failure:
            self.fail_with(failure)

    def _check(self, head: RequestHead) -> None:
        """Raise Unauthenticated or Forbidden if the call's token does not allow this request."""
        if self._shared.guard is not None:
            self._shared.guard.check(self._authorization, INFERENCE, head.ref)

    def invocation_metadata(self) -> Metadata:
        return metadata_of(self._authorization)

    def _submit(self, known: Known, message: GrpcMessage) -> None:
        self._known = known
        self._call = self._shared.inference.start_known(
            known.head, known.template, message, self._left_ns(), self._done
        )

    def _read(self, key: bytes, message: GrpcMessage, coding: str) -> None:
        """Take a request that is new or unusual."""
        shared = self._shared
        if key:
            head, request = shared.infer.read(bytes(message))
            self._check(head)
            template = shared.inference.known(head, request)
            if template is not None:
                known = Known(head, template)
                shared.known.keep(key, known)
                self._submit(known, message)
                return
        self._task = asyncio.get_running_loop().create_task(self._run(message, coding))

    async def _run(self, message: GrpcMessage, coding: str) -> None:
        try:
            self._plain = (
                bytes(message) if not message.compressed else await self._decompressed(message, coding)
            )
            self._parts = await self._shared.infer.parts(self._plain, self, self.share, self.observed)
            size = sum(map(len, self._parts))
            self.share.grow_to(size)
            if self.observed is not None:
                self.observed.sent = size
            self._task = None
        except Exception as failure:
            self._task = None
            self.fail_with(failure)
        else:
            self.ended()

    async def _decompressed(self, message: GrpcMessage, coding: str) -> bytes:
        view, most = memoryview(message), self._shared.most
        if len(message) > wire.HERE_BYTES:
            return await CODINGS.run(decompressed, view, coding, most)
        return decompressed(view, coding, most)

    def _done(self, completion: Completion) -> None:
        call, self._call = self._call, None
        known = self._known
        assert call is not None, "a completion comes once, and not after abandon()"
        assert known is not None, "only known requests are submitted here"
        if completion.kind is not None:
            self._fails()
        if self.observed is not None:
            self.observed.completed(call, completion)
        try:
            self._head, size = known.rendered(self._shared.inference, call, completion, self.of_stream)
            self.share.grow_to(size)
            self._completion = completion
            if self.observed is not None:
                id = self._message.id if self._message is not None else b""
                self.observed.sent = size + len(id) + OF_AN_ID * bool(id)
        except Exception as failure:
            self.fail_with(failure)
        else:
            self.ended()

    def send(self, session: GrpcSession, stream: int) -> None:
        """Send the answer. Raises TooLarge, and sends nothing, if it is larger than a message may be."""
        message, known = self._message, self._known
        self._message = None
        if self._completion is not None:
            assert message is not None, "sent once"
            assert known is not None, "a completion is of a known request"
            completion, self._completion = self._completion, None
            fits = session.answer(stream, self._head, message, completion, known.outputs, self.of_stream)
        else:
            assert self._parts is not None, "there is an answer"
            parts, self._parts = self._parts, None
            fits = session.send(stream, response.in_stream(parts) if self.of_stream else parts)
        if not fits:
            raise too_large("", self.share.size, self._shared.most)

    @property
    def runs(self) -> bool:
        """True while there is neither an answer nor an error."""
        return self._call is not None or self._task is not None

    def abandon(self) -> bool:
        """Stop working: nobody waits for the answer. False if it was there, or if the task counts its end."""
        call, self._call = self._call, None
        if call is not None:
            self._shared.inference.abandon(call)
        if self._task is not None:
            self._task.cancel()
        return call is not None

    def close(self) -> None:
        """Give back what counts as in flight."""
        self.share.close()

    def observed_end(self, observed: Observed, told: "Told | None") -> None:
        """The answer, or this error, is with the session."""
        if told is None:
            observed.end(grpc.StatusCode.OK.name, SUCCESS, observed.sent)
        else:
            observed.end(status.status(told)[0].name, told.kind, 0)

    def _says(self, observed: Observed, received: int) -> None:
        path = STREAM_INFER if self.of_stream else INFER
        observed.asks(METHOD, path, path, received, over_grpc=True)

    def _fails(self) -> None:
        """The request fails: observe it now, if that was left until then."""
        observer = self._shared.observer
        if self.observed is None and observer.remembers:
            self.observed = observer.fails(self._began)
            self._says(self.observed, 0 if self._message is None else len(self._message))

    def nobody_waits(self, error: Cancelled | DeadlineExceeded | None) -> None:
        """The call is over; only what has not ended ends with this."""
        if self.runs:
            self._fails()
        if self.observed is not None:
            kind = Cancelled.kind if error is None else error.kind
            self.observed.end(status.GRPC_STATUS[kind].name, kind, 0)

    def request_id(self) -> str:
        """The request's id; empty if it has none, or cannot be read at all."""
        if self._message is None:
            return ""
        if self._known is not None:
            return self._message.id.decode()
        return id_of(bytes(self._message) if self._plain is None else self._plain)

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None if there is none."""
        return None if self._deadline_ns is None else (self._deadline_ns - time.monotonic_ns()) / 1e9

    def _left_ns(self) -> int | None:
        if self._deadline_ns is None:
            return None
        return min(max(self._deadline_ns - time.monotonic_ns(), 0), LONGEST_NS)

    def fail_with(self, failure: Exception) -> None:
        """End with an error. It is not kept, because its frames keep the outputs."""
        self._fails()
        self._call = None
        self.told = status.tell(failure, self._shared.count)
        self.ended()
