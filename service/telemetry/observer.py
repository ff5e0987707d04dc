"""Decides which requests are observed, and passes each on to whoever wants it when it has ended."""

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Literal

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
from trtserve.telemetry.exemplars import Exemplars
from trtserve.telemetry.observed import Observed
from trtserve.telemetry.sampling import Trace, new_trace
from trtserve.telemetry.tracing import Tracing


class Observer:
    """The one of a server. Belongs to the event loop."""

    def __init__(
        self,
        settings: Settings,
        *,
        tracing: Tracing | None = None,
        exemplars: Exemplars | None = None,
        log: AccessLog | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`clock`: the runtime's, in nanoseconds. Without `tracing`, no request is traced; without `log`, the
        settings say whether there is one, and each line is written at once."""
        self._log = log or AccessLog.of(settings)
        self.tracing = tracing
        self._exemplars = exemplars
        self.clock = clock
        self.on = self._log is not None or tracing is not None
        """False: only requests that ask for something are observed. So the others cost a look at this."""
        self.draws: Callable[[], bool] = _always
        """Asked once, if `on`, for each request that asks for nothing: False if nobody wants to know it."""
        self.draws_declined: Callable[[], bool] = _always
        """The same for each request whose caller wants no trace of it."""
        if self._log is None and tracing is not None:
            self.draws = tracing.sampler.draws  # itself: with traces most requests end here
            self.draws_declined = _never
        self.names = NAMES if tracing is None else TRACED
        """The headers in which requests ask for something."""
        self.remembers = self._log is not None and not self._log.draws_all
        """True: who does not observe a request must remember what it was, and observe it once it fails."""
        self._prefix = secrets.token_hex(6)  # of the IDs that this server makes
        self._made = 0

    def begin(self, asked: Asked | Literal[False] | None) -> Observed | None:
        """A request has come, whose headers ask for this, or which draws() or draws_declined() took; None if
        nobody wants to know of it, or only if it fails. `asked` is False if the caller wants no trace."""
        tracing, log = self.tracing, self._log
        trace, given, timing = None, None, False
        if asked:
            given, timing = asked[REQUEST_ID], wants_timing(asked[PREFER])
            if tracing is not None:
                trace = tracing.sampler.trace_of(asked)
        elif asked is None and tracing is not None and (log is None or tracing.sampler.draws()):
            trace = new_trace()
        drawn = log is not None and log.draws()
        if trace is None and given is None and not (timing or drawn):
            return None
        tells_id = drawn or given is not None
        observed = self._new(request_id(given) or (self._new_id() if tells_id else ""), trace)
        observed.drawn, observed.tells_id, observed.tells_times = drawn, tells_id, timing
        return observed

    def begin_with(self, headers: Iterable[tuple[bytes, bytes]]) -> Observed | None:
        """The same with a request's headers, whose names are in lower case. It is observed too if somebody
        wants to know of it only if it fails."""
        asked = asked_in(headers, self.names)
        if asked is None and not (self.on and self.draws()):
            return None
        return self.begin(asked) or (self._new("", None) if self.remembers else None)

    def fails(self, began: int) -> Observed:
        """A request fails that was not observed, but is remembered. It began at this time of the clock."""
        observed = self._new("", None)
        observed.began = began
        return observed

    def _new(self, id: str, trace: Trace | None) -> Observed:
        return Observed(
            self.clock, self._ended, id, trace=trace, new_id=self._new_id if self.remembers else None
        )

    def _new_id(self) -> str:
        self._made += 1
        return f"{self._prefix}-{self._made:x}"

    def _ended(self, observed: Observed) -> None:
        if self._log is not None:
            self._log.ended(observed)
        if self.tracing is not None and observed.trace is not None:
            self.tracing.ended(observed)
            if self._exemplars is not None:
                self._exemplars.ended(observed)


def _always() -> bool:
    return True


def _never() -> bool:
    return False
