"""The pauses between attempts to load an engine for which memory, threads or descriptors are short."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0

Sleep = Callable[[float], Coroutine[Any, Any, None]]


def retry_delays() -> Iterator[float]:
    """Seconds between the attempts; endless."""
    delay = FIRST_RETRY_S
    while True:
        yield delay
        delay = min(2 * delay, LAST_RETRY_S)


async def pause(sleep: Sleep, seconds: float, stopped: Callable[[], Awaitable[object]]) -> None:
    """Sleep, but return at once when `stopped` does."""
    waits = [asyncio.ensure_future(wait) for wait in (sleep(seconds), stopped())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
