"""What the libraries below the seam say, into Python's logging: one eventfd, records taken when it tells."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from runtime_ext import LogRecord, log_fd, take_log

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class NativeLog:
    """Logs as trtserve.<component>. Belongs to one loop, from attach() to detach()."""

    def __init__(
        self, fd: Callable[[], int] = log_fd, take: Callable[[], Sequence[LogRecord]] = take_log
    ) -> None:
        """`fd` and `take` are the seam's unless a test gives others."""
        self._fd = fd
        self._take = take
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Begin to listen, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd(), self._drain)

    def detach(self) -> None:
        """Log what has come, and listen no more."""
        if self._loop is not None:
            self._loop.remove_reader(self._fd())
            self._loop = None
            self._drain()

    def _drain(self) -> None:
        for record in self._take():
            logger = logging.getLogger(f"trtserve.{record.component}")
            # One record, one line: a message may quote names that whoever made the plan chose.
            logger.log(LEVELS[record.severity], "%s", " ".join(record.message.splitlines()))
