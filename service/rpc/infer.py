"""ModelInfer and ModelStreamInfer: the same requests, on the same way into the scheduler, as over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from runtime_ext import Completion
from service.codec import LONGEST_NS
from service.errors import Cancelled, DeadlineExceeded, Unavailable
from service.inference import Inference
from service.inflight import InflightBytes, Share
from service.rpc import answer, errors
from service.rpc.request import Requests, id_of

STREAM_DEPTH = 256  # requests of one stream that are under way, or whose answers wait for those before

Context = grpc.aio.ServicerContext[Any, Any]


class Infer:
    """Belongs to the event loop."""

    def __init__(self, inference: Inference, inflight: InflightBytes, count: errors.Count) -> None:
        self._inference = inference
        self._inflight = inflight
        self._count = count
        self._requests = Requests()
        self._readers: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def infer(self, message: bytes, context: Context) -> bytes:
        """The answer's message. Raises what the request is refused with, or ended with."""
        with self._inflight.share() as share:
            return await self._infer(message, context, share)

    async def _infer(self, message: bytes, context: Context, share: Share) -> bytes:
        share.grow_to(len(message))
        head, request = self._requests.read(message)
        ended: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()

        def done(completion: Completion) -> None:
            if not ended.done():  # cancelled, and abandon() is still to come
                ended.set_result(completion)

        call = self._inference.start_request(head, request, _left_ns(context), done)
        try:
            completion = await ended
        except asyncio.CancelledError:
            # What cancels a call is its client, or its deadline: then nobody hears this.
            self._count(_left(context).kind)
            raise
        finally:
            self._inference.abandon(call)
        return answer.response(call, self._inference.outputs(call, completion))

    async def stream(self, messages: AsyncIterator[bytes], context: Context) -> None:
        """Answer the requests of a stream in their order; each is on its way as soon as it has come."""
        answers: asyncio.Queue[tuple[asyncio.Task[bytes], Share] | None] = asyncio.Queue()
        free = asyncio.Semaphore(STREAM_DEPTH)
        whole = False  # whether its client has said that no more requests come

        async def read() -> None:
            nonlocal whole
            async for message in messages:
                await free.acquire()
                share = Share(self._inflight)
                answers.put_nowait((asyncio.create_task(self._in_stream(message, context, share)), share))
            whole = True

        reader = asyncio.create_task(read())
        # Not at the end of read(): what is cancelled before it has begun never comes there.
        reader.add_done_callback(lambda _: answers.put_nowait(None))
        self._readers.add(reader)
        if self._stopping:
            reader.cancel()
        try:
            while (next_one := await answers.get()) is not None:
                task, share = next_one
                try:
                    await context.write(await task)
                finally:
                    share.close()
                free.release()
        except grpc.aio.InternalError:  # of write(), which nobody takes any more
            raise _left(context) from None
        finally:
            self._readers.discard(reader)
            reader.cancel()
            while not answers.empty():
                if (left := answers.get_nowait()) is not None:
                    task, share = left
                    task.cancel()
                    share.close()
        if self._stopping and not whole:
            raise Unavailable("The server is stopping; all requests that it has read are answered.")

    def stop(self) -> None:
        """Read no more requests from streams, which end when they have answered those that were read."""
        self._stopping = True
        for reader in self._readers:
            reader.cancel()

    async def _in_stream(self, message: bytes, context: Context, share: Share) -> bytes:
        """The answer in a stream, where an error is one too.

        It counts as under way until its client has taken it: so many may wait for a client that takes none.
        """
        try:
            written = answer.in_stream(await self._infer(message, context, share))
            share.grow_to(len(written))
            return written
        except Exception as failure:
            told = errors.tell(failure, self._count)
            return answer.error_in_stream(told.sentence, id_of(message))


def _left_ns(context: Context) -> int | None:
    """What is left of the call's deadline, if it has one."""
    left = context.time_remaining()
    return None if left is None else min(max(int(left * 1e9), 0), LONGEST_NS)


def _left(context: Context) -> Cancelled | DeadlineExceeded:
    """Why a call was cancelled."""
    left = context.time_remaining()
    if left is not None and left <= 0:
        return DeadlineExceeded("The call's deadline was over.")
    return Cancelled("The client left before the answer.")
