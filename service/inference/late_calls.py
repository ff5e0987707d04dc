"""Calls whose engine is not resident: they wait for it in a task, and then become the call that begins."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from trtserve.codec import Body, InferRequest
from trtserve.engines.registry import Registry
from trtserve.errors import DeadlineExceeded, NotFound, unknown_model
from trtserve.inference.call import HERE_BYTES, Call, Done, RequestHead
from trtserve.inference.late import Refusal, time_asked
from trtserve.workers import CODINGS

if TYPE_CHECKING:
    from runtime_ext import Completion


class LateCalls:
    """Belongs to the event loop."""

    def __init__(self, registry: Registry, timeout_ns: int | None) -> None:
        """`timeout_ns`: how long a request may take that does not say it."""
        self._registry = registry
        self._demand = registry.demand
        self._timeout_ns = timeout_ns

    def start(
        self,
        head: RequestHead,
        limit: Callable[[], Awaitable[int | None]],
        begin: Callable[[int | None], Awaitable[Call]],
        done: Done,
    ) -> Call:
        """A call that begins once its engine is resident; `done` gets a Refusal if it never does.

        `limit` reads how many nanoseconds the request may take; `begin` submits it, with what is left of
        them.
        """
        resolved = self._registry.resolve(head.ref, head.version)
        call = Call(resolved, 0, InferRequest([]), [], None)
        begun = self._begin(call, head, limit, begin, done)
        call.late = asyncio.get_running_loop().create_task(begun)
        return call

    async def _begin(
        self,
        call: Call,
        head: RequestHead,
        limit: Callable[[], Awaitable[int | None]],
        begin: Callable[[int | None], Awaitable[Call]],
        done: Done,
    ) -> None:
        came = time.monotonic_ns()
        ends: asyncio.Timeout | None = None
        try:
            limit_ns = await limit()
            async with asyncio.timeout(None) as ends:
                if limit_ns is not None:
                    left_s = (limit_ns - (time.monotonic_ns() - came)) / 1e9
                    ends.reschedule(asyncio.get_running_loop().time() + left_s)
                await self._resident(head)
                left_ns = None if limit_ns is None else max(1, limit_ns - (time.monotonic_ns() - came))
                begun = await begin(left_ns)
            self._demand.late += 1
            call.take_over(begun)
        except Exception as failure:
            call.late = None
            if ends is None or not ends.expired():
                done(cast("Completion", Refusal(failure)))
                return
            sentence = f"The request's deadline passed while engine {call.resolved.engine} was being loaded."
            done(cast("Completion", Refusal(DeadlineExceeded(sentence))))

    async def _resident(self, head: RequestHead) -> None:
        try:
            await self._demand.resident(head.ref, head.version)
        except NotFound as missing:
            if head.of_model:
                raise unknown_model(missing) from None
            raise

    async def limit_of(self, head: RequestHead, body: Body, written: int, own: int | None) -> int | None:
        """How long a request may take whose body is not read yet; see _limit_ns()."""
        if own is None:
            read = partial(time_asked, head.form, body, written)
            own = await CODINGS.run(read) if len(body) > HERE_BYTES else read()
        return own or self._timeout_ns
