"""Waiting for what another thread or task brings about, without sleeping for a guessed time."""

import asyncio
from collections.abc import Callable

HANGS_AFTER_S = 60  # only to end a test that would never end


async def until(holds: Callable[[], bool]) -> None:
    """Let the event loop go on until a condition holds."""
    async with asyncio.timeout(HANGS_AFTER_S):
        while not holds():  # noqa: ASYNC110  what is waited for knows nothing of this loop
            await asyncio.sleep(0)
