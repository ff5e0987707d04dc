"""The calls of every method but inference: a task runs the handler that grpc.aio would run."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc

from runtime_ext import GrpcMessage
from trtserve.errors import Cancelled, DeadlineExceeded
from trtserve.rpc import wire
from trtserve.rpc.authorize import Metadata, metadata_of
from trtserve.rpc.fast.calls import OpenCall
from trtserve.rpc.fast.coding import decompressed, too_large
from trtserve.rpc.fast.link import Link
from trtserve.telemetry.asked import Asked
from trtserve.workers import CODINGS

logger = logging.getLogger(__name__)

Handler = Any  # grpc.RpcMethodHandler, whose stubs do not have its fields
UNKNOWN = grpc.StatusCode.UNKNOWN.value[0]
NO_MESSAGE = "The call has no message; this method takes one."


class Aborted(Exception):
    """A handler has ended its call with a status."""

    def __init__(self, code: int, sentence: str, metadata: Sequence[tuple[str, str]]) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.metadata = metadata


class Context:
    """What handlers use of grpc.aio's ServicerContext."""

    def __init__(self, call: "HandledCall") -> None:
        self._call = call

    def time_remaining(self) -> float | None:
        return self._call.time_remaining()

    def invocation_metadata(self) -> Metadata:
        return metadata_of(self._call.authorization, self._call.asked)

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        self._call.trailing = list(metadata)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Sequence[tuple[str, str]] = ()
    ) -> None:
        raise Aborted(code.value[0], details, trailing_metadata)

    async def write(self, message: Any) -> None:
        await self._call.write(message)


class HandledCall(OpenCall):
    """A call that a handler of grpc.aio answers. Belongs to the event loop."""

    def __init__(
        self,
        link: Link,
        stream: int,
        handler: Handler,
        deadline_ns: int | None,
        *,
        most: int,
        authorization: bytes | None = None,
        asked: Asked | None = None,
    ) -> None:
        """`deadline_ns` by the monotonic clock; `most`: bytes of a message; `authorization`: the header."""
        self.authorization = authorization
        self.asked = asked
        self.trailing: list[tuple[str, str]] = []  # metadata of a call that goes well
        self._link = link
        self._stream = stream
        self._handler = handler
        self._deadline_ns = deadline_ns
        self._most = most
        self._messages: asyncio.Queue[GrpcMessage | None] = asyncio.Queue()  # None: no more
        self._sent: asyncio.Future[None] | None = None  # for the message that is being written
        self._over = False  # the client hears no more of the call
        self._task = asyncio.get_running_loop().create_task(self._run())

    def message(self, message: GrpcMessage) -> None:
        self._messages.put_nowait(message)

    def half_closed(self) -> None:
        self._messages.put_nowait(None)

    def fail(self, error: Exception) -> None:
        self.left(None)
        self._link.refuse(self._stream, error)

    def sent(self) -> None:
        if self._sent is not None and not self._sent.done():
            self._sent.set_result(None)

    def left(self, error: Cancelled | DeadlineExceeded | None) -> None:
        self._over = True
        self._task.cancel()
        self._link.forget(self._stream)

    def look(self, passed: float) -> bool:
        """Delivery looks at the task, and cancels it."""
        return True

    def stop(self) -> None:
        """Its service has been told to stop."""

    def time_remaining(self) -> float | None:
        return None if self._deadline_ns is None else (self._deadline_ns - time.monotonic_ns()) / 1e9

    async def write(self, message: Any) -> None:
        """Send a message, and return once it is with the system."""
        await self._write(self._serialized(message))

    async def _write(self, written: bytes) -> None:
        self._send(written)
        await self._delivered()

    def _send(self, written: bytes) -> None:
        self._sent = asyncio.get_running_loop().create_future()
        if not self._link.session.send(self._stream, [written]):
            raise too_large("", len(written), self._most)
        self._link.flush_soon()

    async def _delivered(self) -> None:
        if self._sent is not None:
            await self._sent

    def _serialized(self, message: Any) -> bytes:
        serialize = self._handler.response_serializer
        written: bytes = message if serialize is None else serialize(message)
        return written

    async def _run(self) -> None:
        session, stream = self._link.session, self._stream
        try:
            if self._handler.response_streaming:
                await self._answer_in_stream()
            else:
                request = await self._only_request()
                answer = await self._handler.unary_unary(request, Context(self))
                self._send(self._serialized(answer))
            session.finish(stream, metadata=self.trailing)
        except Aborted as end:
            session.finish(stream, end.code, end.sentence, list(end.metadata))
        except asyncio.CancelledError:
            if not self._over:  # Delivery has lost its patience
                session.reset(stream)
                self._end()
            raise
        except Exception as failure:
            self._link.refuse(stream, failure)
        self._link.flush_soon()
        if not self._handler.response_streaming:
            await self._until_delivered()
        self._end()

    async def _until_delivered(self) -> None:
        try:
            await self._delivered()
        except asyncio.CancelledError:
            if not self._over:
                self._link.session.reset(self._stream)
                self._end()
            raise

    async def _answer_in_stream(self) -> None:
        handler, context = self._handler, Context(self)
        if handler.request_streaming:
            answers = handler.stream_stream(self._requests(), context)
        else:
            answers = handler.unary_stream(await self._only_request(), context)
        async for answer in answers:
            await self.write(answer)

    async def _requests(self) -> AsyncIterator[Any]:
        while (message := await self._messages.get()) is not None:
            yield await self._read(message)

    async def _only_request(self) -> Any:
        message = await self._messages.get()
        if message is None:
            await Context(self).abort(grpc.StatusCode.INVALID_ARGUMENT, NO_MESSAGE)
            raise AssertionError("abort() raises")
        return await self._read(message)

    async def _read(self, message: GrpcMessage) -> Any:
        coding = self._link.coding(self._stream, message)
        if not message.compressed:
            plain = bytes(message)
        elif len(message) > wire.HERE_BYTES:
            plain = await CODINGS.run(decompressed, memoryview(message), coding, self._most)
        else:
            plain = decompressed(memoryview(message), coding, self._most)
        read = self._handler.request_deserializer
        return plain if read is None else read(plain)

    def _end(self) -> None:
        self._over = True
        self._link.forget(self._stream)
        self._link.flush_soon()
