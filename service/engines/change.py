"""A change of an engine's options, for people who wait for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ChangeState(StrEnum):
    WAITING = "WAITING"  # for another change of the engine to end
    LOADING = "LOADING"  # its next life is being loaded; the former one serves, unless it is changed in place
    DRAINING = "DRAINING"  # the next life serves; the former one finishes the requests that it had accepted
    DONE = "DONE"
    FAILED = "FAILED"  # the engine has the options that it had; `reason` says why


@dataclass
class Change:
    """The last change that was asked for. Belongs to the event loop."""

    options: Mapping[str, Any]  # that were asked for
    state: ChangeState = ChangeState.WAITING
    reason: str | None = None  # of FAILED

    @contextmanager
    def under_way(self, reason_of: Callable[[Exception], str]) -> Iterator[None]:
        """Surrounds the change: it is DONE afterwards, or FAILED for the reason of what this raises."""
        try:
            yield
        except Exception as failure:
            self.state, self.reason = ChangeState.FAILED, reason_of(failure)
            raise
        self.state = ChangeState.DONE
