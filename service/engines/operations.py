"""The registry's operations that have not ended: each runs to its end, even if its caller leaves."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from trtserve.errors import Unavailable

T = TypeVar("T")

MOST_ASKED = 4096
"""Operations that clients have asked for. Each waits for the lock of its engine, whether its client does or
not, so that without a bound they would add up while an engine is built, or drains."""
RETRY_AFTER_S = 10.0


class Operations:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._asked = 0

    def __len__(self) -> int:
        return len(self._tasks)

    async def run(self, operation: Coroutine[Any, Any, T]) -> T:
        """Run what a client asks for. Raises as check(), and what it raises."""
        return await asyncio.shield(self.ask(operation))

    def ask(self, operation: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin what a client asks for. Raises as check()."""
        try:
            self.check()
        except Unavailable:
            operation.close()
            raise
        self._asked += 1
        task = self.begin(operation)
        task.add_done_callback(self._ended)
        return task

    def check(self) -> None:
        """Raise Unavailable if as many run as may."""
        if self._asked >= MOST_ASKED:
            raise Unavailable(
                f"{self._asked} changes of engines are under way or wait, the most that may: try again "
                "later.",
                retry_after=RETRY_AFTER_S,
            )

    def _ended(self, _: asyncio.Task[Any]) -> None:
        self._asked -= 1

    def begin(self, operation: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(operation)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settled(self, within_s: float) -> None:
        """Wait until none is in progress, for at most `within_s` seconds."""
        deadline = asyncio.get_running_loop().time() + within_s
        while self._tasks and (left_s := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s)
