"""ModelInfer and ModelStreamInfer: requests take the path into the scheduler that HTTP requests take."""

import asyncio
from collections.abc import AsyncIterator

import grpc

from runtime_ext import Completion
from trtserve.access.guard import Guard
from trtserve.access.scopes import INFERENCE
from trtserve.codec import LONGEST_NS, InferRequest
from trtserve.inference.call import RequestHead
from trtserve.inference.calls import Inference
from trtserve.inference.inflight import InflightBytes, Share
from trtserve.inference.with_classes import with_classes_anywhere
from trtserve.rpc import response, status, wire
from trtserve.rpc.authorize import authorization_of
from trtserve.rpc.delivery import Delivery
from trtserve.rpc.observing import observe
from trtserve.rpc.request import Requests, id_of
from trtserve.rpc.streams import STREAM_INFER, Context, Streams, Timed, why_left
from trtserve.telemetry.observed import SUCCESS, Observed
from trtserve.telemetry.observer import Observer


class Infer:
    """Answers inference calls, single and in streams. Belongs to the event loop."""

    def __init__(
        self,
        inference: Inference,
        inflight: InflightBytes,
        delivery: Delivery,
        count: status.Count,
        *,
        observer: Observer,
        guard: Guard | None = None,
    ) -> None:
        """Without a `guard`, nobody needs a token."""
        self._guard = guard
        self._observer = observer
        self._inference = inference
        self._delivery = delivery
        self._count = count
        self._requests = Requests()
        self._streams = Streams(self._in_stream, inflight, delivery)

    async def infer(self, message: bytes, context: Context, observed: Observed | None) -> bytes:
        """The answer's message. Raises the error with which the request is refused or ends."""

        async def answered(share: Share) -> bytes:
            return await _joined(await self.parts(message, context, share, observed), share)

        return await self._delivery.only(answered)

    def read(self, message: bytes) -> tuple[RequestHead, InferRequest]:
        """The head and the request in a message. Raises InvalidInput, TooLarge and Unsupported."""
        return self._requests.read(message)

    async def parts(
        self, message: bytes, context: Timed, share: Share, observed: Observed | None
    ) -> wire.Parts:
        """The answer's message in parts, which are views on the outputs. `observed`: the request, if it is.

        Raises the error with which the request is refused or ends.
        """
        share.grow_to(len(message))
        head, request = self.read(message)
        if self._guard is not None:
            self._guard.check(authorization_of(context.invocation_metadata()), INFERENCE, head.ref)
        ended: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()

        def done(completion: Completion) -> None:
            if not ended.done():  # cancelled, and abandon() is still to come
                ended.set_result(completion)

        await self._inference.read_long(head, request, share)
        call = self._inference.start_request(head, request, _left_ns(context), done)
        try:
            completion = await ended
        except asyncio.CancelledError:
            # Its client or its deadline cancelled the call, so no one receives an answer.
            left = why_left(context)
            self._count(left.kind)
            if observed is not None:
                observed.end(status.GRPC_STATUS[left.kind].name, left.kind, 0)
            raise
        finally:
            self._inference.abandon(call)
        if observed is not None:
            observed.completed(call, completion)
        outputs = await with_classes_anywhere(call, self._inference.outputs(call, completion))
        return response.response(call, outputs)

    async def stream(self, messages: AsyncIterator[bytes], context: Context) -> None:
        """Answer the requests of a stream in their order; see Streams."""
        await self._streams.answer(messages, context)

    def stop(self) -> None:
        """Stop reading requests from streams; each ends when it has answered those it has read."""
        self._streams.stop()

    async def _in_stream(self, message: bytes, context: Context, share: Share) -> bytes:
        """The answer to one request of a stream; in a stream an error is an answer too.

        It counts as in flight until its client has received it, because many may wait for a slow client.
        """
        observed = observe(self._observer, context, STREAM_INFER, len(message))
        try:
            parts = response.in_stream(await self.parts(message, context, share, observed))
            answer = await _joined(parts, share)
            if observed is not None:
                observed.end(grpc.StatusCode.OK.name, SUCCESS, len(answer))
            return answer
        except Exception as failure:
            told = status.tell(failure, self._count)
            if observed is not None:
                observed.end(status.status(told)[0].name, told.kind, 0)
            return response.error_in_stream(told.sentence, id_of(message))


async def _joined(parts: wire.Parts, share: Share) -> bytes:
    """Join a message, and count it from now on. Raises Unavailable if there is no room for it."""
    share.grow_to(sum(map(len, parts)))
    return await wire.joined(parts)


def _left_ns(context: Timed) -> int | None:
    """The time left until the call's deadline, in nanoseconds; None if it has none."""
    left = context.time_remaining()
    return None if left is None else min(max(int(left * 1e9), 0), LONGEST_NS)
