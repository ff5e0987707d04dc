"""Waiting for another thread or task without a guessed sleep."""

import asyncio
import time
from collections.abc import Callable

HANGS_AFTER_S = 60  # only to end a test that would never end


async def until(holds: Callable[[], bool]) -> None:
    """Run the event loop until a condition holds."""
    async with asyncio.timeout(HANGS_AFTER_S):
        while not holds():  # noqa: ASYNC110  what is waited for knows nothing of this loop
            await asyncio.sleep(0)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Poll a condition; return once it holds."""
    deadline = time.monotonic() + HANGS_AFTER_S
    while not holds():
        assert time.monotonic() < deadline, f"this never came: {what}"
        time.sleep(0.005)
