"""Answers on their way to clients: a client must receive each in time, and its bytes count until then.

gRPC knows when an answer has been sent, but sets no time limit for that. A client that opens no window for
its answers, and otherwise behaves, could keep its calls open for ever. So one look per second, as in
trtserve.http.connection_limits, finds the answers that were not received in time.

grpc.aio cannot cancel a call on the server. It does cancel a call without references, so the two tasks that
hold one are cancelled: the task that answers it, and the task that waits for its end. gRPC itself holds only
two other calls: the latest, until the next one arrives, and the very first.
"""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from trtserve.errors import BodyStalled
from trtserve.inference.inflight import InflightBytes, Share
from trtserve.inference.patience import Patience

EVERY_S = 1.0
TAKEN_BYTES_S = 65_536  # the least rate for a client: gRPC does not say how much it has received
HOLDER = "_schedule_rpc_coro"  # the coroutine of the task that waits for a call's end

Task = asyncio.Task[Any]


class _Answer:
    """An answer that its client has not received."""

    __slots__ = ("patience", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.patience: Patience | None = None  # set at the first look


class Delivery:
    """Ends calls whose clients receive their answers too slowly. Belongs to the event loop, its clock."""

    def __init__(
        self,
        inflight: InflightBytes,
        write_timeout_s: float,
        count: Callable[[str], None],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """A client has `write_timeout_s` to receive an answer, and a second more for each TAKEN_BYTES_S.

        `count` is called with the kind of error of each call that is ended here.
        """
        self._inflight = inflight
        self._write_timeout_s = write_timeout_s
        self._count = count
        self._loop = loop
        self._waiting: dict[Task, _Answer] = {}  # by the tasks that answer
        self._looking = False
        self._looked = 0.0

    async def only(self, answer: Callable[[Share], Awaitable[bytes]]) -> bytes:
        """The one answer of a call, which the running task must return to gRPC.

        Its share counts until gRPC has finished the call.
        """
        share = Share(self._inflight)
        try:
            written = await answer(share)
        except BaseException:
            share.close()
            raise
        task = _current()
        self._begin(task, len(written))

        def ended(_: Task) -> None:
            self._waiting.pop(task, None)
            share.close()

        task.add_done_callback(ended)
        return written

    @contextmanager
    def of(self, answer: bytes) -> Iterator[None]:
        """Watch over `answer` while the running task writes it as one of a call's answers."""
        task = _current()
        self._begin(task, len(answer))
        try:
            yield
        finally:
            self._waiting.pop(task, None)

    def _begin(self, task: Task, size: int) -> None:
        self._waiting[task] = _Answer(size)
        if not self._looking:
            self._looking = True
            self._loop = self._loop or asyncio.get_running_loop()
            self._looked = self._loop.time()
            self._loop.call_later(EVERY_S, self._look)

    def _look(self) -> None:
        """End the calls whose client has no time left; look again while answers wait."""
        if not self._waiting:
            self._looking = False
            return
        assert self._loop is not None
        now = self._loop.time()
        # A blocked loop has sent nothing meanwhile: that is not the clients' fault.
        passed = min(now - self._looked, 2 * EVERY_S)
        self._looked = now
        self._loop.call_later(EVERY_S, self._look)
        late = set()
        for task, answer in self._waiting.items():
            if answer.patience is None:
                answer.patience = Patience(self._write_timeout_s + answer.size / TAKEN_BYTES_S)
            elif not answer.patience.spend(passed, 0):
                late.add(task)
        if late:
            self._end(late)

    def _end(self, late: Collection[Task]) -> None:
        for holder in _holders(late):
            holder.cancel()
        for task in late:
            del self._waiting[task]  # once is enough
            task.cancel()
            self._count(BodyStalled.kind)


def _current() -> Task:
    task = asyncio.current_task()
    assert task is not None
    return task


def _holders(answering: Collection[Task]) -> Iterator[Task]:
    """The tasks that wait for the end of the late calls: each refers to the task that answers its call."""
    for task in asyncio.all_tasks():
        coroutine = task.get_coro()
        if getattr(coroutine, "__name__", None) != HOLDER:
            continue
        held = (each for scope in gc.get_referents(coroutine) for each in gc.get_referents(scope))
        if any(each in answering for each in held if isinstance(each, asyncio.Task)):
            yield task
