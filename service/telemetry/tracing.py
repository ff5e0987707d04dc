"""Traces: which requests have one, and the thread that sends the spans of those that have ended.

A collector that is slow, down or full of errors holds nobody up: a request that has ended waits in a bounded
list, and is dropped if that is full.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from trtserve.errors import InvalidInput
from trtserve.settings import Settings
from trtserve.telemetry.observed import Observed
from trtserve.telemetry.sampling import Draws, Sampler

logger = logging.getLogger(__name__)

MOST_WAITING = 4096  # requests that have ended and wait to be sent; each takes about a kilobyte
AT_ONCE = 256  # requests in one export
EVERY_S = 2.0  # between two looks at what waits, if it is less than one export
TIMEOUT_S = 5.0  # of one try
PAUSES_S = (1.0, 2.0)  # before each further try to send the same spans
CLOSES_WITHIN_S = 2.0  # the thread, with what still waits
EXTRA = (
    "--trace-endpoint (TRTSERVE_TRACE_ENDPOINT) needs the messages of OpenTelemetry, which are not "
    "installed: install trtserve[tracing], or leave the setting out."
)


class Sends(Protocol):
    """Hands requests as spans to a collector. Belongs to one thread, but for close()."""

    def send(self, ended: Sequence[Observed]) -> None:
        """Blocks, for a bounded time. Raises an error if the collector did not take them, which is worth
        another try if it has a true `again`."""

    def close(self) -> None:
        """End what another thread is sending."""


class Tracing:
    """Takes requests on the event loop, and sends them in a thread of its own, from start() to close()."""

    def __init__(self, sampler: Sampler, sends: Sends) -> None:
        self.sampler = sampler
        self._sends = sends
        self._waiting: deque[Observed] = deque()  # its operations are atomic; only the thread takes
        self._closing = threading.Event()
        self._wake = threading.Event()  # there is enough for an export, or the end
        self._thread: threading.Thread | None = None
        self._takes = True  # the collector took what was sent last
        self.dropped = 0  # requests; written by the event loop alone
        self.sent = 0  # likewise, by the thread alone
        self.lost = 0

    @classmethod
    def of(cls, settings: Settings) -> "Tracing | None":
        """None if the settings ask for no traces. Raises InvalidInput if they cannot be sent."""
        if not settings.trace_endpoint:
            return None
        try:
            from trtserve.telemetry import otlp, spans
        except ImportError as missing:
            raise InvalidInput(EXTRA) from missing
        over = otlp.OverHttp if settings.trace_protocol == "http" else otlp.OverGrpc
        collector = over(settings.trace_endpoint, TIMEOUT_S)
        resource = spans.resource_of(settings.server_name)
        return cls(Sampler(Draws(settings.trace_rate)), otlp.Exporting(spans.Spans(resource), collector))

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="trtserve-traces", daemon=True)
        self._thread.start()

    def ended(self, observed: Observed) -> None:
        """Take a traced request that has ended; never blocks."""
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
            return
        self._waiting.append(observed)
        if len(self._waiting) == AT_ONCE:
            self._wake.set()

    def close(self) -> None:
        """Blocks, for CLOSES_WITHIN_S at most: send what waits, as far as the collector takes it."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(CLOSES_WITHIN_S)
        self._sends.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            self._wake.wait(EVERY_S)
            self._wake.clear()
            self._send_waiting()
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            ended = _taken(self._waiting, AT_ONCE)
            why = self._send(ended)
            if why is None:
                self.sent += len(ended)
            else:
                self.lost += len(ended)
            self._tell(why)
            if why is not None and self._closing.is_set():
                return

    def _send(self, ended: Sequence[Observed]) -> Exception | None:
        """Send the requests, in several tries if that may help; return why it failed."""
        for pause_s in (*PAUSES_S, None):
            try:
                self._sends.send(ended)
            except Exception as failure:
                last = pause_s is None or not getattr(failure, "again", False)
                if last or self._closing.wait(pause_s):
                    return failure
            else:
                return None
        raise AssertionError("the last try returns")

    def _tell(self, why: Exception | None) -> None:
        """Log when the collector begins to fail, and when it takes spans again: not each time in between."""
        if why is not None and self._takes:
            logger.warning("traces are lost, because the collector does not take them: %s", why)
        elif why is None and not self._takes:
            logger.info("the collector takes traces again; those of %d requests were lost", self.lost)
        self._takes = why is None


def _taken(waiting: deque[Observed], most: int) -> list[Observed]:
    """The first requests, about `most`: those of one execution stay together, for the span of their batch."""
    taken: list[Observed] = []
    while waiting and (len(taken) < most or waiting[0].times[0] == taken[-1].times[0] != 0):
        taken.append(waiting.popleft())
    return taken
