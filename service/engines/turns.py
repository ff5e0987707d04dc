"""Gives loads their turns: a few at a time, in the order of arrival; none blocks the others for ever."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from trtserve.errors import Unavailable

AT_ONCE = 2  # a load uses every core it can get, or one GPU
AT_MOST = 12  # including those that take long
PATIENCE_S = 5.0  # if a load takes longer, the next begins beside it
RETRY_AFTER_S = 10.0


class Turns:
    """The queue of loads. Belongs to one event loop.

    Two loads run at a time. A load that hangs or takes long no longer counts after PATIENCE_S: then the next
    begins, and only a thirteenth must wait until another ends or reaches its time limit.
    """

    def __init__(self, most_waiting: int, patience_s: float = PATIENCE_S) -> None:
        self._most_waiting = most_waiting
        self._patience_s = patience_s
        self._prompt = 0  # running loads that have not exceeded the patience
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def check_room(self) -> None:
        """Raise Unavailable if as many loads wait as may."""
        if len(self._waiting) >= self._most_waiting:
            raise Unavailable(
                f"{len(self._waiting)} loads are waiting, the limit (--max-waiting-loads): try again later.",
                retry_after=RETRY_AFTER_S,
            )

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        if self._waiting or not self._free():
            came: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(came)
            try:
                await came
            except BaseException:
                if came.done() and not came.cancelled():  # it got its turn, but was cancelled
                    self._end(self._call_for_slow())
                with suppress(ValueError):
                    self._waiting.remove(came)
                raise
        else:
            self._take()
        grown_slow = self._call_for_slow()
        timer = asyncio.get_running_loop().call_later(self._patience_s, grown_slow)
        try:
            yield
        finally:
            timer.cancel()
            self._end(grown_slow)

    def _free(self) -> bool:
        return self._prompt < AT_ONCE and self._running < AT_MOST

    def _take(self) -> None:
        self._prompt += 1
        self._running += 1

    def _call_for_slow(self) -> Callable[[], None]:
        """A function that stops counting this turn as prompt; only its first call has an effect."""
        counts = True

        def slow() -> None:
            nonlocal counts
            if counts:
                counts = False
                self._prompt -= 1
                self._next()

        return slow

    def _end(self, slow: Callable[[], None]) -> None:
        self._running -= 1
        slow()
        self._next()

    def _next(self) -> None:
        while self._waiting and self._free():
            came = self._waiting.popleft()
            if not came.done():
                self._take()
                came.set_result(None)
