"""A fake of the seam's log."""

import os
from contextlib import suppress
from dataclasses import dataclass


@dataclass
class LogRecord:
    severity: str
    component: str
    message: str


class FakeLog:
    """A fake of the seam's log: `fd` and `take` stand for log_fd() and take_log()."""

    def __init__(self) -> None:
        self._records: list[LogRecord] = []
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        os.close(self._fd)

    def say(self, severity: str, component: str, message: str) -> None:
        self._records.append(LogRecord(severity, component, message))
        os.eventfd_write(self._fd, 1)

    def fd(self) -> int:
        return self._fd

    def take(self) -> list[LogRecord]:
        taken, self._records = self._records, []
        with suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        return taken
