"""The calls of ModelStreamInfer: many requests each, whose answers come in the order of the requests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import grpc

from trtserve.errors import Cancelled, DeadlineExceeded, Unavailable, stopping
from trtserve.inference.inflight import InflightBytes, Share
from trtserve.rpc.delivery import Delivery

STREAM_DEPTH = 256  # requests of one stream that are under way, or whose answers wait for those before

Context = grpc.aio.ServicerContext[Any, Any]


class Streams:
    """Belongs to the event loop."""

    def __init__(
        self,
        answer: Callable[[bytes, Context, Share], Coroutine[Any, Any, bytes]],
        inflight: InflightBytes,
        delivery: Delivery,
    ) -> None:
        """`answer` gives the answer to one request of a stream, and raises nothing."""
        self._answer = answer
        self._inflight = inflight
        self._delivery = delivery
        self._readers: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def answer(self, messages: AsyncIterator[bytes], context: Context) -> None:
        """Answer the requests of a stream in their order; each is on its way as soon as it has come."""
        if self._stopping:
            raise _stopping()
        answers: asyncio.Queue[tuple[asyncio.Task[bytes], Share] | None] = asyncio.Queue()
        free = asyncio.Semaphore(STREAM_DEPTH)
        whole = False  # whether its client has said that no more requests come

        async def read() -> None:
            nonlocal whole
            async for message in messages:
                await free.acquire()
                share = Share(self._inflight)
                answers.put_nowait((asyncio.create_task(self._answer(message, context, share)), share))
            whole = True

        reader = asyncio.create_task(read())
        # Not within it: a task that is cancelled before its first step never takes one.
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
        except grpc.aio.InternalError:  # of write(), which nobody takes any more
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
            raise _stopping()

    def stop(self) -> None:
        """Read no more requests from streams, which end when they have answered those that were read."""
        self._stopping = True
        for reader in self._readers:
            reader.cancel()


def _stopping() -> Unavailable:
    return stopping("; all requests that it has read are answered")


def why_left(context: Context) -> Cancelled | DeadlineExceeded:
    """Why a call was cancelled."""
    left = context.time_remaining()
    if left is not None and left <= 0:
        return DeadlineExceeded("The call's deadline was over.")
    return Cancelled("The client left before the answer.")
