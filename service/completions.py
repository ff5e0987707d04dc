"""Completions from C++ to the event loop: one eventfd, many futures."""

import asyncio
from collections.abc import Sequence

from runtime_ext import Completion, Runtime
from service.codec.request import Input
from service.errors import of_kind


class Completions:
    """Submits requests and hands each its completion. Belongs to one loop, from attach() to detach()."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: dict[int, asyncio.Future[Completion]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def attach(self) -> None:
        """Begin to listen, on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._runtime.completion_fd(), self._drain)

    def detach(self) -> None:
        """Take what has come, and listen no more."""
        if self._loop is not None:
            self._loop.remove_reader(self._runtime.completion_fd())
            self._drain()

    async def run(self, engine_id: int, inputs: Sequence[Input], timeout_ns: int | None) -> Completion:
        """Run one request. Raises the error that it is refused with, or ends with.

        Where the caller is cancelled the request is too, if it still waits. Its completion comes all the
        same, and is dropped: until then it owns the inputs.
        """
        assert self._loop is not None, "attach() comes first"
        ticket = self._runtime.submit(engine_id, inputs, timeout_ns)
        # The completion cannot be taken before this: that happens on this loop.
        future: asyncio.Future[Completion] = self._loop.create_future()
        self._waiting[ticket] = future
        try:
            completion = await future
        except asyncio.CancelledError:
            self._runtime.cancel(engine_id, ticket)
            raise
        finally:
            self._waiting.pop(ticket, None)
        if completion.kind is not None:
            raise of_kind(completion.kind, completion.message)
        return completion

    def _drain(self) -> None:
        for completion in self._runtime.take_completions():
            future = self._waiting.get(completion.ticket)
            if future is not None and not future.done():
                future.set_result(completion)
