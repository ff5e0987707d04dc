"""Passes log records of the libraries below the seam to Python's logging, through one eventfd."""

import logging
from collections.abc import Callable, Sequence

from runtime_ext import LogRecord, log_fd, take_log
from trtserve.fd_reader import FdReader

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class NativeLog(FdReader):
    """Logs as trtserve.<component>. Belongs to one loop, from attach() to detach()."""

    def __init__(
        self, fd: Callable[[], int] = log_fd, take: Callable[[], Sequence[LogRecord]] = take_log
    ) -> None:
        """`fd` and `take` are the seam's, except in tests."""
        super().__init__(fd)
        self._take = take

    def _drain(self) -> None:
        for record in self._take():
            logger = logging.getLogger(f"trtserve.{record.component}")
            # One record, one line: a message may quote names from the plan.
            logger.log(LEVELS[record.severity], "%s", " ".join(record.message.splitlines()))
