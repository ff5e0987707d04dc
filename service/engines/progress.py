"""How far the build of an engine's plan is, and how it went."""

import time
from dataclasses import dataclass

from trtserve.plans.build import Step

WAITING = "waiting for the device"


@dataclass
class Progress:
    """One build, the last of its engine's life. Belongs to the event loop."""

    reason: str | None = None  # why a plan that was there is built again
    phase: str = WAITING
    percent: float | None = None
    log: str = ""  # the last line of the library's log
    _began: float | None = None  # time.monotonic()
    _took: float | None = None  # seconds

    @property
    def seconds(self) -> float:
        """How long it has been built, without waiting."""
        if self._took is not None:
            return self._took
        return time.monotonic() - self._began if self._began is not None else 0.0

    def begin(self) -> None:
        self._began = time.monotonic()
        self.phase = "starting"

    def tell(self, step: Step) -> None:
        self.phase, self.log = step.phase, step.log or self.log
        self.percent = None if step.fraction is None else round(100 * step.fraction, 1)

    def end(self, phase: str) -> None:
        self._took = self.seconds
        self.phase = phase

    def __str__(self) -> str:
        return self.phase if self.percent is None else f"{self.phase}, {self.percent:g} %"
