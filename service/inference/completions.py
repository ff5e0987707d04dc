"""Passes completions from C++ to the event loop: one eventfd for many requests.

A lone short request has no use for another thread. The runtime holds it until the loop has submitted all that
arrived with it; then the loop runs it itself, and gets its completion at once (see run_held in _C.pyi).
"""

import logging
from collections.abc import Callable

from runtime_ext import Completion, Runtime
from trtserve.fd_reader import FdReader

logger = logging.getLogger(__name__)

Done = Callable[[Completion], None]


class Completions(FdReader):
    """Calls each completion's callback, by its ticket. Belongs to one loop, from attach() to detach()."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime.completion_fd)
        self._runtime = runtime
        self._waiting: dict[int, Done] = {}
        self._runs_held = False  # in this turn of the loop, after everything that has arrived

    @property
    def in_flight(self) -> int:
        """Requests that were submitted and whose completion has not come."""
        return len(self._waiting)

    def attach(self) -> None:
        super().attach()
        self._runtime.hold_short_requests(True)

    def detach(self) -> None:
        self._runtime.hold_short_requests(False)
        self._run_held()
        super().detach()

    def expect(self, ticket: int, done: Done) -> None:
        """Call `done` with the completion of a request that was just submitted.

        The completion cannot have been taken already, because this loop takes it.
        """
        self._waiting[ticket] = done
        if not self._runs_held and self._loop is not None:
            self._runs_held = True
            self._loop.call_soon(self._run_held)

    def forget(self, engine_id: int, ticket: int) -> bool:
        """Drop a request's callback, and cancel the request if it is still queued.

        Its completion still arrives, and is dropped; until then it owns the inputs. Returns False if it has
        already arrived.
        """
        if self._waiting.pop(ticket, None) is None:
            return False
        self._runtime.cancel(engine_id, ticket)
        return True

    def _run_held(self) -> None:
        self._runs_held = False
        self._tell(self._runtime.run_held())

    def _drain(self) -> None:
        self._tell(self._runtime.take_completions())

    def _tell(self, completions: list[Completion]) -> None:
        completions.reverse()
        while completions:  # each is freed, with its outputs, before the next is looked at
            completion = completions.pop()
            done = self._waiting.pop(completion.ticket, None)
            if done is None:
                continue
            try:
                done(completion)
            except Exception:
                # The other completions still need their callbacks.
                logger.exception("the callback of a completion failed")
