"""Decides which requests are observed, and passes each on to whoever wants it when it has ended."""

import secrets
import time
from collections.abc import Callable, Iterable

from trtserve.settings import Settings
from trtserve.telemetry.access_log import AccessLog
from trtserve.telemetry.asked import (
    NAMES,
    PREFER,
    REQUEST_ID,
    TRACED,
    Asked,
    asked_in,
    request_id,
    wants_timing,
)
from trtserve.telemetry.observed import Observed
from trtserve.telemetry.tracing import Tracing


class Observer:
    """The one of a server. Belongs to the event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        tracing: Tracing | None = None,
        log: AccessLog | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`clock`: the runtime's, in nanoseconds. Without `tracing`, no request is traced."""
        self._log = log
        if log is None and settings.access_log != "off":
            self._log = AccessLog(settings)
        self._tracing = tracing
        self._clock = clock
        self.on = self._log is not None or tracing is not None
        """False: only requests that ask for something are observed. So the others cost a look at this."""
        self.names = NAMES if tracing is None else TRACED
        """The headers in which requests ask for something."""
        self._prefix = secrets.token_hex(6)  # of the IDs that this server makes
        self._made = 0

    def begin(self, asked: Asked | None) -> Observed | None:
        """A request has come, whose headers ask for this; None if nobody wants to know of it."""
        trace = None if self._tracing is None else self._tracing.sampler.trace_of(asked)
        given, timing = None, False
        if asked is not None:
            given, timing = asked[REQUEST_ID], wants_timing(asked[PREFER])
        tells_id = self._log is not None or given is not None
        if trace is None and not tells_id and not timing:
            return None
        id = request_id(given) or (self._new_id() if tells_id else "")
        return Observed(self._clock, self._ended, id, tells_id=tells_id, tells_times=timing, trace=trace)

    def begin_with(self, headers: Iterable[tuple[bytes, bytes]]) -> Observed | None:
        """The same with a request's headers, whose names are in lower case."""
        return self.begin(asked_in(headers, self.names))

    def _new_id(self) -> str:
        self._made += 1
        return f"{self._prefix}-{self._made:x}"

    def _ended(self, observed: Observed) -> None:
        if self._log is not None:
            self._log.ended(observed)
        if self._tracing is not None and observed.trace is not None:
            self._tracing.ended(observed)
