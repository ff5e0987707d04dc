"""The calls of a connection: ModelInfer and ModelStreamInfer."""

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING

from runtime_ext import GrpcMessage
from trtserve.errors import Cancelled, DeadlineExceeded, TooLarge
from trtserve.rpc import response, status
from trtserve.rpc.fast.inferring import CallHead, Inferring, Shared
from trtserve.rpc.fast.link import Link
from trtserve.rpc.streams import stream_stopping
from trtserve.telemetry.asked import REQUEST_ID, request_id

if TYPE_CHECKING:
    from trtserve.inference.patience import Patience


class OpenCall(ABC):
    """A call of a client, until its status has been sent. Belongs to the event loop."""

    @abstractmethod
    def message(self, message: GrpcMessage) -> None: ...
    @abstractmethod
    def half_closed(self) -> None:
        """The client sends no more messages."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """End with an error, because of what the client sent; answer first what it sent before."""

    @abstractmethod
    def sent(self) -> None:
        """One of the messages, the first not yet reported, is with the system."""

    @abstractmethod
    def left(self, error: Cancelled | DeadlineExceeded | None) -> None:
        """The call is over: stop working for it. `error` counts if it was not answered; None: it does not."""

    @abstractmethod
    def look(self, passed: float) -> bool:
        """`passed` seconds went by; False if the client has received its answer too slowly."""

    @abstractmethod
    def stop(self) -> None:
        """End the call, if it does not end by itself: the server stops."""

    def time_remaining(self) -> float | None:
        return None


class UnaryInfer(Inferring, OpenCall):
    """A ModelInfer."""

    __slots__ = ("_link", "_patience", "_stream")

    def __init__(self, link: Link, stream: int, shared: Shared, head: CallHead) -> None:
        super().__init__(shared, head)
        self._link = link
        self._stream = stream
        self._patience: Patience | None = None  # for an answer that is not sent, once it was looked at

    def message(self, message: GrpcMessage) -> None:
        self.start(message, self._link.coding(self._stream, message))

    def ended(self) -> None:
        link, told, observed = self._link, self.told, self.observed
        metadata = [] if observed is None else observed.headers(failed=told is not None)
        if told is None:
            try:
                self.send(link.session, self._stream)
            except TooLarge as failure:
                told = status.tell(failure, link.count)
            else:
                if metadata:
                    link.session.finish(self._stream, metadata=metadata)
                else:
                    link.session.finish(self._stream)
        if told is not None:
            link.tell(self._stream, told, metadata)
            self.sent()
        if observed is not None:
            self.observed_end(observed, told)
        link.flush_soon()

    def half_closed(self) -> None:
        """Not told of a call with a message."""

    def fail(self, error: Exception) -> None:
        """Nothing is read behind the message."""

    def sent(self) -> None:
        self.close()
        self._link.forget(self._stream)

    def left(self, error: Cancelled | DeadlineExceeded | None) -> None:
        self.nobody_waits(error)
        if self.abandon() and error is not None:
            self._link.count(error.kind)
        self.sent()

    def look(self, passed: float) -> bool:
        if self.runs:
            return True
        if self._patience is None:
            self._patience = self._link.patience(self.share.size)
            return True
        return self._patience.spend(passed, 0)

    def stop(self) -> None:
        """It ends by itself."""


class StreamedInfer(Inferring):
    """One request of a ModelStreamInfer."""

    __slots__ = ("_stream",)

    of_stream = True

    def __init__(self, stream: "StreamInfer", shared: Shared, head: CallHead) -> None:
        super().__init__(shared, head)
        self._stream = stream

    def ended(self) -> None:
        self._stream.answer()


class StreamInfer(OpenCall):
    """A ModelStreamInfer: its requests are answered in their order, and each starts as soon as it arrives."""

    def __init__(self, link: Link, stream: int, shared: Shared, head: CallHead) -> None:
        self._link = link
        self._stream = stream
        self._shared = shared
        self._head = head
        self._asked: deque[StreamedInfer] = deque()  # not answered
        self._unsent: deque[StreamedInfer] = deque()  # answered, and not with the system
        self._patience: Patience | None = None  # for the first of these, once it was looked at
        self.last = False  # no more requests are read
        self._failure: Exception | None = None  # that ends the stream after its answers

    def message(self, message: GrpcMessage) -> None:
        if self.last:
            return
        one = self._begun()
        one.start(message, self._link.coding(self._stream, message))

    def _begun(self) -> StreamedInfer:
        one = StreamedInfer(self, self._shared, self._head)
        self._asked.append(one)
        return one

    def refuse(self, error: Exception) -> None:
        """Answer a request with an error that has not arrived whole."""
        one = self._begun()
        one.fail_with(error)

    def half_closed(self) -> None:
        self.last = True
        self._end_if_answered()

    def stop(self) -> None:
        self.fail(stream_stopping())

    def fail(self, error: Exception) -> None:
        if not self.last:
            self.last = True
            self._failure = error
            self._end_if_answered()

    def answer(self) -> None:
        """Send the answers that are there, up to the first that is not."""
        asked, session, stream = self._asked, self._link.session, self._stream
        while asked and not asked[0].runs:
            one = asked[0]
            if one.told is None:
                try:
                    one.send(session, stream)
                except TooLarge as failure:
                    self._abandon()
                    self._close_with(failure)
                    return
            else:
                session.send(stream, [response.error_in_stream(one.told.sentence, one.request_id())])
            if one.observed is not None:
                one.observed_end(one.observed, one.told)
            asked.popleft()
            self._unsent.append(one)
        self._end_if_answered()
        self._link.flush_soon()

    def sent(self) -> None:
        self._unsent.popleft().close()
        self._patience = None
        self._forget_if_sent()

    def left(self, error: Cancelled | DeadlineExceeded | None) -> None:
        for one in self._asked:
            one.nobody_waits(error)
        if error is not None:
            for one in self._asked:
                if one.abandon():
                    self._link.count(error.kind)
            if not self._asked and self._unsent:
                self._link.count(error.kind)
        self._abandon()
        self._link.forget(self._stream)

    def look(self, passed: float) -> bool:
        if not self._unsent:
            return True
        if self._patience is None:
            self._patience = self._link.patience(self._unsent[0].share.size)
            return True
        return self._patience.spend(passed, 0)

    def _end_if_answered(self) -> None:
        if self.last and not self._asked:
            if self._failure is None:
                asked = self._head.asked
                id = None if asked is None else request_id(asked[REQUEST_ID])
                self._link.session.finish(self._stream, metadata=[] if id is None else [("x-request-id", id)])
            else:
                self._link.refuse(self._stream, self._failure)
            self._link.flush_soon()
            self._forget_if_sent()

    def _close_with(self, failure: Exception) -> None:
        self.last = True
        self._link.refuse(self._stream, failure)
        self._link.flush_soon()
        self._link.forget(self._stream)

    def _abandon(self) -> None:
        for one in (*self._asked, *self._unsent):
            one.abandon()
            one.close()
        self._asked.clear()
        self._unsent.clear()

    def _forget_if_sent(self) -> None:
        if self.last and not self._asked and not self._unsent:
            self._link.forget(self._stream)
