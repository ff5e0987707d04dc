"""A load in a thread of its own, which is given up when it takes too long: a library cannot be
interrupted."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class RunningLoad(Generic[T]):
    """Its result is taken by result(), or else let go by its own thread. Belongs to the event loop that began
    it."""

    def __init__(self, name: str, load: Callable[[], T], let_go: Callable[[], None]) -> None:
        """Begin. `let_go` releases what `load` made after it was given up; both are called in the thread."""
        self._load = load
        self._let_go = let_go
        self._lock = threading.Lock()
        self._given_up = False  # guarded by _lock
        self._has_ended = False  # guarded by _lock
        self._loop = asyncio.get_running_loop()
        self._result: asyncio.Future[T] = self._loop.create_future()
        self._stop: asyncio.Future[None] = self._loop.create_future()
        self._gone = False  # True once nothing of it is left
        self._when_gone: Callable[[], None] = lambda: None
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def when_gone(self, call: Callable[[], None]) -> None:
        """Call this on the event loop once it has ended, and what it made was let go: now, if that is so."""
        if self._gone:
            call()
        self._when_gone = call

    def stop(self) -> None:
        """Give it up as soon as can be."""
        if not self._stop.done():
            self._stop.set_result(None)

    async def result(self, within_s: float) -> T:
        """Its result, or what it raised; TimeoutError once it is given up: then nobody will have its
        result."""
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
