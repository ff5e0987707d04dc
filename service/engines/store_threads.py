"""The threads in which the store is called: one for changes, and a few that read whole plans."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

READS_AT_ONCE = 2  # as many as load at once
P = ParamSpec("P")
T = TypeVar("T")


class StoreThreads:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._changing = ThreadPoolExecutor(1, "trtserve-store")
        self._reading = ThreadPoolExecutor(READS_AT_ONCE, "trtserve-read")

    async def call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call the store in its one thread, one call after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._changing, lambda: call(*args, **kwargs))

    async def read(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function that reads a whole plan, in threads other than the store's."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, lambda: call(*args, **kwargs))

    def close(self) -> None:
        self._changing.shutdown(wait=False)
        self._reading.shutdown(wait=False)
