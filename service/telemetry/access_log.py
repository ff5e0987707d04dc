"""One line for each request that the setting asks for."""

import logging
import random
from collections.abc import Callable
from typing import Any

from trtserve.settings import Settings
from trtserve.telemetry.observed import SUCCESS, Observed
from trtserve.telemetry.sampling import Draws

logger = logging.getLogger("trtserve.access")

LONGEST_TARGET = 256  # characters


class AccessLog:
    """Belongs to the event loop."""

    def __init__(self, settings: Settings, chance: Callable[[], float] = random.random) -> None:
        """`chance` is from 0 up to 1."""
        rate = {"errors": 0.0, "sampled": settings.access_log_rate}.get(settings.access_log, 1.0)
        self.draws = Draws(rate, chance).next
        """Asked for each request: True if it is written down whatever becomes of it."""
        self.draws_all = rate >= 1
        self._as_fields = settings.log_format == "json"

    def ended(self, observed: Observed) -> None:
        """Write the request down, if it failed or was drawn."""
        if observed.kind == SUCCESS and not observed.drawn:
            return
        if not logger.isEnabledFor(logging.INFO):
            return
        if self._as_fields:
            logger.info("request", extra=_fields(observed))
        else:
            logger.info("%s", _line(observed))


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
