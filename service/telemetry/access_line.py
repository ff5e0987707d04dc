"""What a line of the access log says of a request."""

import logging
from typing import Any

from trtserve.telemetry.observed import Observed

LONGEST_TARGET = 256  # characters


def record_of(observed: Observed, logger: str, ahead_ns: int, *, as_fields: bool) -> logging.LogRecord:
    """The record of a request, with the time at which it ended. The wall clock is `ahead_ns` ahead of the
    monotonic one."""
    message = "request" if as_fields else _line(observed)
    record = logging.LogRecord(logger, logging.INFO, "", 0, message, None, None)
    record.created = (observed.written + ahead_ns) / 1e9
    record.msecs = int(record.created % 1 * 1000) + 0.0
    if as_fields:
        record.__dict__.update(_fields(observed))
    return record


def _fields(observed: Observed) -> dict[str, Any]:
    """The line's parts by name: only those that are known."""
    fields: dict[str, Any] = {
        "request_id": observed.request_id,
        "method": observed.method,
        "target": _safe(observed.target),
        "status": observed.status,
        "outcome": observed.kind,
        "received_bytes": observed.received,
        "sent_bytes": observed.sent,
    }
    if observed.engine is not None:
        fields["engine"], fields["version"] = observed.engine
        fields["engine_id"] = observed.engine_id
    if observed.trace is not None:
        fields["trace_id"] = f"{observed.trace.trace_id:032x}"
    for name, begin, end in (*observed.phases(), observed.total):
        fields[f"{name}_ms"] = round(max(0, end - begin) / 1e6, 3)
    return fields


def _line(observed: Observed) -> str:
    parts = [observed.method, _safe(observed.target), str(observed.status), observed.kind]
    if observed.engine is not None:
        parts.append(f"engine={_safe(observed.engine[0])}@{observed.engine[1]}")
    parts += [f"id={observed.request_id}", f"in={observed.received}", f"out={observed.sent}"]
    if observed.trace is not None:
        parts.append(f"trace={observed.trace.trace_id:032x}")
    parts += [
        f"{name}={max(0, end - begin) / 1e6:.3f}ms"
        for name, begin, end in (*observed.phases(), observed.total)
    ]
    return " ".join(parts)


def _safe(text: str) -> str:
    """Text from outside in one line of ASCII, without white space and not too long."""
    shown = text[:LONGEST_TARGET].encode("ascii", "backslashreplace").decode("ascii")
    return shown if shown.isprintable() and " " not in shown else "".join(map(_escaped, shown))


def _escaped(character: str) -> str:
    return character if character.isprintable() and character != " " else f"\\x{ord(character):02x}"
