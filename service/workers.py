"""Threads for work that would hold up the event loop, apart by kind: a slow kind delays no other."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """Threads of one kind of work, made when they are first needed. Called on an event loop."""

    def __init__(self, kind: str, most: int) -> None:
        self._threads = ThreadPoolExecutor(most, thread_name_prefix=f"trtserve-{kind}")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns or raises in one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))


UPLOADS = Workers("upload", 4)
"""Plans on their way to the disk, which may be slow."""

CODINGS = Workers("coding", 4)
"""Compressed bodies and answers."""

SCRAPES = Workers("scrape", 1)
"""Pages for Prometheus."""
