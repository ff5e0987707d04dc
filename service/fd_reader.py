"""A descriptor that tells the event loop that there is something to take."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable


class FdReader(ABC):
    """Takes what comes whenever a descriptor can be read. Belongs to one loop, from attach() to detach()."""

    def __init__(self, fd: Callable[[], int]) -> None:
        """`fd` gives the descriptor, which is first needed in attach()."""
        self._fd = fd
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Begin to listen, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd(), self._drain)

    def detach(self) -> None:
        """Take what has come, and listen no more."""
        if self._loop is not None:
            self._loop.remove_reader(self._fd())
            self._loop = None
            self._drain()

    @abstractmethod
    def _drain(self) -> None:
        """Take all that has come, so that the descriptor can be read no more."""
