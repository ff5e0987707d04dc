"""Reads files again while the server runs: an administrator replaces them, and restarts nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

EVERY_S = 1.0


class Rereads(Protocol):
    def reread(self) -> None:
        """Read the files again if they have changed. Blocks, and does not raise for files that are bad."""


async def reread(parts: Sequence[Rereads], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Let each part look at its files once a second, in a thread, until this is cancelled."""
    while True:
        await sleep(EVERY_S)
        for part in parts:
            await asyncio.to_thread(part.reread)
