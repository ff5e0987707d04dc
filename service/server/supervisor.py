"""What systemd is told of this process, if it is a service of Type=notify (sd_notify(3))."""

import asyncio
import os
from collections.abc import Mapping

from sdnotify import SystemdNotifier


class Supervisor:
    """Belongs to the event loop, so that it says nothing while the loop does not turn."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Without NOTIFY_SOCKET in the environment it tells nobody."""
        self._notifier = SystemdNotifier() if environment.get("NOTIFY_SOCKET") else None
        microseconds = environment.get("WATCHDOG_USEC", "")
        self._every_s = int(microseconds) / 2e6 if microseconds.isdecimal() else 0.0  # 0: nobody waits
        self._next: asyncio.TimerHandle | None = None

    def listening(self) -> None:
        """Say that the server is ready for connections, and from now on that its loop turns."""
        self._tell(f"READY=1\nMAINPID={os.getpid()}")
        if self._notifier is not None and self._every_s > 0:
            self._turns(asyncio.get_running_loop())

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def _turns(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tell("WATCHDOG=1")
        self._next = loop.call_later(self._every_s, self._turns, loop)

    def _tell(self, state: str) -> None:
        if self._notifier is not None:
            self._notifier.notify(state)
