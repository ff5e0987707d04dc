"""One line for each request that the setting asks for, written by a thread.

A request costs the event loop only its place in a bounded list: the thread makes the lines and writes several
at once. Whoever reads the log slowly, or not at all, stops the thread and not the server; what the list
cannot hold meanwhile is dropped, and counted.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from trtserve.settings import Settings
from trtserve.telemetry.access_line import record_of
from trtserve.telemetry.log_stream import LogStream
from trtserve.telemetry.observed import SUCCESS, Observed
from trtserve.telemetry.sampling import Draws

logger = logging.getLogger(__name__)
ACCESS = logging.getLogger("trtserve.access")  # the lines

MOST_WAITING = 16384  # requests that wait for their line; each takes about a kilobyte
GATHERS_S = 0.05  # from the first request that waits to its line
AT_ONCE = 16  # lines of one write: about 4 KB, which a pipe takes as a whole; the GIL is free in between
CLOSES_WITHIN_S = 5.0  # with what still waits


class AccessLog:
    """Belongs to the event loop. Writes in a thread from start() to close(), and at once before and after."""

    def __init__(
        self,
        settings: Settings,
        chance: Callable[[], float] = random.random,
        *,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """`chance` is from 0 up to 1."""
        rate = {"errors": 0.0, "sampled": settings.access_log_rate}.get(settings.access_log, 1.0)
        self.draws = Draws(rate, chance).next
        """Asked for each request: True if it is written down whatever becomes of it."""
        self.draws_all = rate >= 1
        self.written = 0  # lines; by the thread alone, while there is one
        self.dropped = 0  # likewise, by the event loop alone
        self._most_waiting = most_waiting
        self._as_fields = settings.log_format == "json"
        self._waiting: deque[Observed] = deque()  # its operations are atomic; only the thread takes
        self._wake = threading.Event()  # something waits, or the end
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def of(cls, settings: Settings) -> "AccessLog | None":
        """None if no request is to have a line."""
        return None if settings.access_log == "off" else cls(settings)

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="trtserve-access-log", daemon=True)
        self._thread.start()

    def ended(self, observed: Observed) -> None:
        """Write the request down, if it failed or was drawn; never blocks while there is a thread."""
        if observed.kind == SUCCESS and not observed.drawn:
            return
        if not ACCESS.isEnabledFor(logging.INFO):
            return
        if self._thread is None:
            self._write([observed])
            return
        if len(self._waiting) >= self._most_waiting:
            self.dropped += 1
            return
        self._waiting.append(observed)
        if len(self._waiting) == 1:
            self._wake.set()

    def close(self) -> None:
        """Blocks until all is written, for CLOSES_WITHIN_S at most."""
        thread = self._thread
        if thread is None:
            return
        self._closing.set()
        self._wake.set()
        thread.join(CLOSES_WITHIN_S)
        if not thread.is_alive():
            self._thread = None
            self._write_waiting()  # what ended since the thread looked last

    def _run(self) -> None:
        dropped = 0
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            self._closing.wait(GATHERS_S)
            self._write_waiting()
            if self.dropped != dropped:
                more, dropped = self.dropped - dropped, self.dropped
                logger.warning("%d lines of the access log were dropped: its reader was too slow", more)

    def _write_waiting(self) -> None:
        while self._waiting:
            self._write([self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))])

    def _write(self, ended: Sequence[Observed]) -> None:
        ahead_ns = time.time_ns() - time.monotonic_ns()
        records = [record_of(each, ACCESS.name, ahead_ns, as_fields=self._as_fields) for each in ended]
        for handler in _handlers():
            if isinstance(handler, LogStream):
                handler.handle_all(records)
            else:
                for record in records:
                    handler.handle(record)
        self.written += len(records)


def _handlers() -> Iterator[logging.Handler]:
    """Those that get the lines, as Logger.callHandlers finds them."""
    at: logging.Logger | None = ACCESS
    while at is not None:
        yield from (each for each in at.handlers if each.level <= logging.INFO)
        at = at.parent if at.propagate else None
