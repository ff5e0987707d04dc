"""Traces: which requests have one, and the thread that sends the spans of those that have ended.

A collector that is slow, down or full of errors holds nobody up: a request that has ended waits in a bounded
list, and is dropped if that is full.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from trtserve.errors import InvalidInput
from trtserve.settings import Settings
from trtserve.telemetry.observed import Observed
from trtserve.telemetry.sampling import Sampler

logger = logging.getLogger(__name__)

MOST_WAITING = 4096  # requests that have ended and wait to be sent; each takes about a kilobyte
AT_ONCE = 32  # requests: encoding their spans holds the GIL for some milliseconds
EVERY_S = 0.5  # between two looks at what waits
TIMEOUT_S = 5.0  # of one export, with all its tries
CLOSES_WITHIN_S = 2.0  # the thread, with what still waits
HTTP_PATH = "/v1/traces"  # where an OTLP receiver takes traces over HTTP
EXTRA = (
    "--trace-endpoint (TRTSERVE_TRACE_ENDPOINT) needs OpenTelemetry, which is not installed: install "
    "trtserve[tracing], or leave the setting out."
)


class Sends(Protocol):
    """Makes spans of requests and hands them to a collector. Blocks; belongs to one thread."""

    def send(self, ended: Sequence[Observed]) -> bool:
        """False, and a line in the log, if the collector did not take them."""

    def close(self) -> None:
        """End at once what another thread is sending."""


class Tracing:
    """Takes requests on the event loop, and sends them in a thread of its own, from start() to close()."""

    def __init__(self, sampler: Sampler, sends: Sends) -> None:
        self.sampler = sampler
        self._sends = sends
        self._waiting: deque[Observed] = deque()  # its operations are atomic; only the thread takes
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.dropped = 0  # written by the event loop alone
        self.sent = 0  # by the thread alone, as the next
        self.failed = 0

    @classmethod
    def of(cls, settings: Settings) -> "Tracing | None":
        """None if the settings ask for no traces. Raises InvalidInput if they cannot be sent."""
        if not settings.trace_endpoint:
            return None
        try:
            from trtserve.telemetry.spans import Spans
        except ImportError as missing:
            raise InvalidInput(EXTRA) from missing
        endpoint = settings.trace_endpoint
        if settings.trace_protocol == "http" and urlsplit(endpoint).path in {"", "/"}:
            endpoint = endpoint.rstrip("/") + HTTP_PATH
        sends = Spans(endpoint, settings.trace_protocol, settings.server_name, TIMEOUT_S)
        return cls(Sampler(settings.trace_rate), sends)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="trtserve-traces", daemon=True)
        self._thread.start()

    def ended(self, observed: Observed) -> None:
        """Take a traced request that has ended; never blocks."""
        if len(self._waiting) >= MOST_WAITING:
            self.dropped += 1
        else:
            self._waiting.append(observed)

    def close(self) -> None:
        """Blocks, for CLOSES_WITHIN_S at most: send what waits, as far as the collector takes it."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(CLOSES_WITHIN_S)
        self._sends.close()

    def _run(self) -> None:
        while not self._closing.wait(EVERY_S):
            self._send_waiting()
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting:
            ended = _taken(self._waiting, AT_ONCE)
            if self._sent(ended):
                self.sent += len(ended)
            else:
                self.failed += len(ended)
                if self._closing.is_set():
                    return

    def _sent(self, ended: Sequence[Observed]) -> bool:
        try:
            return self._sends.send(ended)
        except Exception:
            logger.exception("%d traces were not sent", len(ended))
            return False


def _taken(waiting: deque[Observed], most: int) -> list[Observed]:
    """The first requests, about `most`: those of one execution stay together, for the span of their batch."""
    taken: list[Observed] = []
    while waiting and (len(taken) < most or waiting[0].times[0] == taken[-1].times[0] != 0):
        taken.append(waiting.popleft())
    return taken
