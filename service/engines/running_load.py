"""A load in its own thread, given up if it takes too long, because a library cannot be interrupted."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class RunningLoad(Generic[T]):
    """A load whose result goes to result(), or, once given up, is released by its own thread. Belongs to the
    event loop that began it."""

    def __init__(self, name: str, load: Callable[[], T], let_go: Callable[[], None]) -> None:
        """Begin. `let_go` releases what `load` makes after it was given up; both run in the load's thread."""
        self._load = load
        self._let_go = let_go
        self._lock = threading.Lock()
        self._given_up = False  # guarded by _lock
        self._has_ended = False  # guarded by _lock
        self._loop = asyncio.get_running_loop()
        self._result: asyncio.Future[T] = self._loop.create_future()
        self._stop: asyncio.Future[None] = self._loop.create_future()
        self._gone = False  # True once the load has ended and, if given up, released its result
        self._when_gone: Callable[[], None] = lambda: None
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def when_gone(self, call: Callable[[], None]) -> None:
        """Call `call` on the event loop once the load has ended and nothing of it is left, or at once."""
        if self._gone:
            call()
        self._when_gone = call

    def stop(self) -> None:
        """Give the load up as soon as possible."""
        if not self._stop.done():
            self._stop.set_result(None)

    async def result(self, within_s: float) -> T:
        """The load's result, or what it raised. Raises TimeoutError after `within_s` seconds or stop(): the
        load is then given up."""
        await asyncio.wait((self._result, self._stop), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        with self._lock:
            self._given_up = not self._has_ended
        if self._given_up:
            raise TimeoutError
        return await self._result

    def _run(self) -> None:
        result: T
        failure: BaseException | None = None
        try:
            result = self._load()
        except BaseException as raised:
            failure = raised
        with self._lock:
            self._has_ended = True
            given_up = self._given_up
        if given_up and failure is None:
            with suppress(Exception):
                self._let_go()

        def tell() -> None:
            self._gone = True
            self._when_gone()
            if given_up:
                return
            if failure is not None:
                self._result.set_exception(failure)
            else:
                self._result.set_result(result)

        with suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(tell)
