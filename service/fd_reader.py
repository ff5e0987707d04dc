"""A descriptor that wakes the event loop when there is something to take."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable


class FdReader(ABC):
    """Acts whenever a descriptor becomes readable. Belongs to one loop, from attach() to detach()."""

    def __init__(self, fd: Callable[[], int]) -> None:
        """`fd` returns the descriptor; attach() is the first to call it."""
        self._fd = fd
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Start listening, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd(), self._drain)

    def detach(self) -> None:
        """Stop listening, and take what has already arrived."""
        if self._loop is not None:
            self._loop.remove_reader(self._fd())
            self._loop = None
            self._drain()

    @abstractmethod
    def _drain(self) -> None:
        """Take everything that has arrived, until the descriptor is no longer readable."""
