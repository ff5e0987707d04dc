"""Whose turn it is to load: so many at a time, in the order of their coming, and none holds up the others for
ever."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from trtserve.errors import Unavailable

AT_ONCE = 2  # a load uses every core it can get, or one GPU
AT_MOST = 12  # with those that take long
PATIENCE_S = 5.0  # a load that has taken longer lets the next begin beside it
RETRY_AFTER_S = 10.0


class Turns:
    """Belongs to one event loop.

    Two loads run at a time. One that hangs, or takes long, counts no longer once the patience is over: then
    the next begins, and only the thirteenth at a time has to wait for one that ends, or is ended by its time
    limit.
    """

    def __init__(self, most_waiting: int, patience_s: float = PATIENCE_S) -> None:
        self._most_waiting = most_waiting
        self._patience_s = patience_s
        self._prompt = 0  # loads whose patience is not over
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def check_room(self) -> None:
        """Unavailable where so many wait that one more would wait for too long."""
        if len(self._waiting) >= self._most_waiting:
            raise Unavailable(
                f"{len(self._waiting)} loads wait already, and no more may (--max-waiting-loads): try "
                "again later.",
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
                if came.done() and not came.cancelled():  # it was called, and leaves all the same
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
        """What takes this turn out of those that count, once however often it is called."""
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
