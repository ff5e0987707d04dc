"""Threads for work that would block the event loop, separate by kind: a slow kind delays no other."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """Threads for one kind of work, started on first need. Called on an event loop."""

    def __init__(self, kind: str, most: int) -> None:
        self._threads = ThreadPoolExecutor(most, thread_name_prefix=f"trtserve-{kind}")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in one of the threads; return or raise what it does."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*args, **kwargs))


UPLOADS = Workers("upload", 4)
"""Writes uploaded plans to the disk, which may be slow."""

ARCHIVES = Workers("archive", 2)
"""Unpacks uploaded archives, each of which may take minutes and as much of the disk as a plan."""

FOLDER = Workers("folder", 2)
"""Reads a folder of models, which may be on another machine."""

CODINGS = Workers("coding", 4)
"""Decompresses bodies and compresses answers."""

SCRAPES = Workers("scrape", 1)
"""Writes the metrics page for Prometheus."""
