"""Completions from C++ to the event loop: one eventfd, many requests."""

import logging
from collections.abc import Callable

from runtime_ext import Completion, Runtime
from trtserve.fd_reader import FdReader

logger = logging.getLogger(__name__)

Done = Callable[[Completion], None]


class Completions(FdReader):
    """Hands each completion to who waits for its ticket. Belongs to one loop, from attach() to detach()."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime.completion_fd)
        self._runtime = runtime
        self._waiting: dict[int, Done] = {}

    def expect(self, ticket: int, done: Done) -> None:
        """Call `done` with the completion of a request that was submitted just now.

        The completion cannot have been taken before: that happens on this loop.
        """
        self._waiting[ticket] = done

    def forget(self, engine_id: int, ticket: int) -> bool:
        """Nobody waits for a request any more: it is cancelled, if it still waits itself.

        Its completion comes all the same, and is dropped: until then it owns the inputs. False where it has
        come already.
        """
        if self._waiting.pop(ticket, None) is None:
            return False
        self._runtime.cancel(engine_id, ticket)
        return True

    def _drain(self) -> None:
        for completion in self._runtime.take_completions():
            done = self._waiting.pop(completion.ticket, None)
            if done is None:
                continue
            try:
                done(completion)
            except Exception:
                # The others that came with it are still to be told.
                logger.exception("a completion was not taken")
