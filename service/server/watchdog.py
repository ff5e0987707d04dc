"""Notices an event loop that does not turn: nothing is read, answered or measured meanwhile."""

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter

logger = logging.getLogger(__name__)

EVERY_S = 1.0  # between two turns that the loop owes, and between two looks


class Watchdog:
    """A thread that looks at the event loop, and logs where it stands once it has not turned for too long.

    What ends such a process is its supervisor, whose probes get no answer. `look` is called by one thread at
    a time; everything else belongs to the loop.
    """

    def __init__(
        self, registry: CollectorRegistry, after_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """A loop is stuck that has not turned for `after_s`; both threads call `clock`, in seconds."""
        self._after_s = after_s
        self._clock = clock
        self._stalls = Counter(
            "trtserve_event_loop_stalls",
            "How often the event loop has not turned for longer than stall_after_s.",
            registry=registry,
        )
        # Written by the loop, read by the thread: one float, which a thread sees whole.
        self._turned = self._looked = clock()
        self._is_stuck = False  # as of the last look
        self._next: asyncio.TimerHandle | None = None
        self._loop_thread = 0
        self._ended = threading.Event()

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """From now on expect turns of the loop, which runs in this thread."""
        self._loop_thread = threading.get_ident()
        self._turn(loop)

    def start(self) -> None:
        """Start the thread that looks; detach() ends it."""
        threading.Thread(target=self._watch, name="trtserve-watchdog", daemon=True).start()

    def detach(self) -> None:
        self._ended.set()
        if self._next is not None:
            self._next.cancel()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._turned = self._clock()
        self._next = loop.call_later(EVERY_S, self._turn, loop)

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.look()

    def look(self) -> None:
        """Say so in the log and the metric if the loop is stuck, and once it is no longer."""
        now = self._clock()
        slept_s, self._looked = now - self._looked, now
        if slept_s > 2 * EVERY_S + self._after_s / 2:
            # As by SIGSTOP, by a machine that slept, or by a call that keeps the GIL. Whatever the loop did
            # or did not do, it owes a turn from here on.
            logger.warning("nothing in this process has run for %.0f s", slept_s)
            self._turned = now
            return
        behind_s = now - self._turned
        if behind_s >= EVERY_S + self._after_s:
            if not self._is_stuck:
                self._is_stuck = True
                self._stalls.inc()
                logger.error(
                    "the event loop has not turned for %.0f s, and nothing is answered; it is at:\n%s",
                    behind_s,
                    self._where(),
                )
        elif self._is_stuck:
            self._is_stuck = False
            logger.warning("the event loop turns again")

    def _where(self) -> str:
        """The Python code that the loop's thread runs now, the innermost call last."""
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)).rstrip() if frame is not None else "an unknown place"
