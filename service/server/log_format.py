"""How the lines of the log look: text for people, or JSON for programs that collect logs."""

import logging
from datetime import UTC, datetime
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

from trtserve.settings import Settings
from trtserve.telemetry.log_stream import LogStream

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
FIELDS = {"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "exception"}


class _Json(JsonFormatter):
    """An object for each record: time (UTC, RFC 3339), level, logger, message, and for errors exception."""

    def __init__(self) -> None:
        super().__init__(["asctime", "levelname", "name", "message"], rename_fields=FIELDS)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


def log_to(stream: TextIO, settings: Settings) -> None:
    """Log to the stream from now on, in the settings' format and from their level on."""
    handler = LogStream(stream)
    handler.setFormatter(_Json() if settings.log_format == "json" else logging.Formatter(TEXT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
