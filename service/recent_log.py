"""The last records of the log, kept in memory for those who look at a running server."""

import logging
from collections import deque
from datetime import UTC, datetime
from typing import NamedTuple

KEPT = 1000
LONGEST = 2000  # characters of a message
LONGEST_TRACEBACK = 8000
_FORMATTER = logging.Formatter()


class LogLine(NamedTuple):
    time: datetime
    severity: int
    level: str
    logger: str
    message: str
    exception: str | None


class RecentLog(logging.Handler):
    """Keeps what is logged while it is attached. Any thread may log; appending to a bounded deque and copying
    one are single steps under the GIL."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=KEPT)

    def attach(self) -> None:
        logging.getLogger().addHandler(self)

    def detach(self) -> None:
        logging.getLogger().removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        exception = _FORMATTER.formatException(record.exc_info) if record.exc_info else None
        line = LogLine(
            datetime.fromtimestamp(record.created, UTC),
            record.levelno,
            record.levelname.lower(),
            record.name,
            record.getMessage()[:LONGEST],
            exception and exception[-LONGEST_TRACEBACK:],  # its end says what happened
        )
        self._lines.append(line)

    def last(self, limit: int, severity: int = logging.NOTSET) -> list[LogLine]:
        """At most `limit` records of this severity or above, the newest last."""
        found = [line for line in self._lines.copy() if line.severity >= severity]
        return found[-limit:]
