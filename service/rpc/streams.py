"""The calls of ModelStreamInfer: each has many requests, answered in the order of the requests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol

import grpc

from trtserve.errors import Cancelled, DeadlineExceeded, Unavailable, stopping
from trtserve.inference.inflight import InflightBytes, Share
from trtserve.rpc.authorize import HasMetadata
from trtserve.rpc.delivery import Delivery

STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
STREAM_DEPTH = 256  # requests of one stream that are in progress, or whose answers wait for earlier ones

Context = grpc.aio.ServicerContext[Any, Any]


class Timed(HasMetadata, Protocol):
    """A call that may have a deadline, and has headers."""

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None if there is none."""


class Streams:
    """Answers the streams of all clients until stop(). Belongs to the event loop."""

    def __init__(
        self,
        answer: Callable[[bytes, Context, Share], Coroutine[Any, Any, bytes]],
        inflight: InflightBytes,
        delivery: Delivery,
    ) -> None:
        """`answer` returns the answer to one request of a stream, and never raises."""
        self._answer = answer
        self._inflight = inflight
        self._delivery = delivery
        self._readers: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def answer(self, messages: AsyncIterator[bytes], context: Context) -> None:
        """Answer the requests of a stream in their order; each starts as soon as it arrives."""
        if self._stopping:
            raise stream_stopping()
        answers: asyncio.Queue[tuple[asyncio.Task[bytes], Share] | None] = asyncio.Queue()
        free = asyncio.Semaphore(STREAM_DEPTH)
        whole = False  # True: the client has closed its side of the stream

        async def read() -> None:
            nonlocal whole
            async for message in messages:
                await free.acquire()
                share = Share(self._inflight)
                answers.put_nowait((asyncio.create_task(self._answer(message, context, share)), share))
            whole = True

        reader = asyncio.create_task(read())
        # A callback, because a task that is cancelled before its first step runs no `finally` of its own.
        reader.add_done_callback(lambda _: answers.put_nowait(None))
        self._readers.add(reader)
        try:
            while (next_one := await answers.get()) is not None:
                task, share = next_one
                try:
                    written = await task
                    with self._delivery.of(written):
                        await context.write(written)
                finally:
                    share.close()
                free.release()
        except grpc.aio.InternalError:  # from write(): the client has left
            raise why_left(context) from None
        finally:
            self._readers.discard(reader)
            reader.cancel()
            while not answers.empty():
                if (unsent := answers.get_nowait()) is not None:
                    task, share = unsent
                    task.cancel()
                    share.close()
        if self._stopping and not whole:
            raise stream_stopping()

    def stop(self) -> None:
        """Stop reading requests; each stream ends when it has answered those it has read."""
        self._stopping = True
        for reader in self._readers:
            reader.cancel()


def stream_stopping() -> Unavailable:
    return stopping("; it has answered all requests that it has read")


def why_left(context: Timed) -> Cancelled | DeadlineExceeded:
    """The error for a call that gRPC cancelled: its deadline passed, or its client left."""
    left = context.time_remaining()
    if left is not None and left <= 0:
        return DeadlineExceeded("The call's deadline has passed.")
    return Cancelled("The client left before the answer.")
