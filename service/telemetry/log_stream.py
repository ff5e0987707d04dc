"""The handler that writes the log to a stream: one record at once, or several together."""

import logging
from collections.abc import Sequence
from typing import TextIO


class LogStream(logging.StreamHandler[TextIO]):
    """Thread safe, as every handler of logging is."""

    def handle_all(self, records: Sequence[logging.LogRecord]) -> None:
        """What handle() does for each record, with one write for all."""
        try:
            text = "".join(self.format(record) + self.terminator for record in records if self.filter(record))
            self.acquire()
            try:
                self.stream.write(text)
                self.flush()
            finally:
                self.release()
        except Exception:
            self.handleError(records[0])
