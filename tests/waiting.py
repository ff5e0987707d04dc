"""Waiting for what another thread or task brings about, without sleeping for a guessed time."""

import asyncio
import time
from collections.abc import Callable

HANGS_AFTER_S = 60  # only to end a test that would never end


async def until(holds: Callable[[], bool]) -> None:
    """Let the event loop go on until a condition holds."""
    async with asyncio.timeout(HANGS_AFTER_S):
        while not holds():  # noqa: ASYNC110  what is waited for knows nothing of this loop
            await asyncio.sleep(0)


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Return once a condition holds that only asking can tell."""
    deadline = time.monotonic() + HANGS_AFTER_S
    while not holds():
        assert time.monotonic() < deadline, f"this never came: {what}"
        time.sleep(0.005)
