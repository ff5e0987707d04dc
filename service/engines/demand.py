"""Requests for engines that are not resident: they wait, and all that are for one engine share its load."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from trtserve.engines.engine import Engine, Resolved, State
from trtserve.engines.lookup import Lookup
from trtserve.engines.marked_ids import MarkedIds
from trtserve.errors import QueueFull, Unavailable

LEAST_RETRY_S = 1.0  # of a client that finds as many waiting as may


class NotResident(Unavailable):
    """The engine is loaded by the next request that waits for it: see Demand.resident()."""


class Demand:
    """Belongs to the event loop."""

    def __init__(
        self,
        lookup: Lookup,
        wake: Callable[[int, Callable[[], bool]], Coroutine[Any, Any, bool]],
        begin: Callable[[Coroutine[Any, Any, bool]], asyncio.Task[bool]],
    ) -> None:
        """`wake` loads an engine, and returns whether it did; it gives up once its second argument returns
        False. `begin` starts an operation of the registry."""
        self._lookup = lookup
        self._wake = wake
        self._begin = begin
        self._loads: dict[int, asyncio.Task[bool]] = {}  # by engine ID
        self._waiting: Counter[int] = Counter()  # requests, by engine ID
        self._ends: dict[int, asyncio.Future[None]] = {}  # by engine ID, of those that wait: ends their wait
        self._unwanted = MarkedIds()  # engines that are being unloaded or removed
        self.accepted = 0  # requests that engines have accepted, those that waited before included
        self.late = 0  # of these, those that waited
        self.waits = 0  # requests that began to wait
        self.loads = 0  # engines that were loaded because of requests
        self.evictions = 0

    @property
    def hits(self) -> int:
        """Accepted requests that found their engine resident."""
        return self.accepted - self.late

    @property
    def waiting(self) -> int:
        return self._waiting.total()

    def is_awaited(self, id: int) -> bool:
        """True if a request waits for the engine."""
        return id in self._waiting and id not in self._unwanted

    @contextmanager
    def unwanted(self, id: int) -> Iterator[None]:
        """End the wait for an engine that is to be removed or unloaded, and let none begin meanwhile."""
        with self._unwanted.marked(id):
            if id in self._ends:
                self._ends.pop(id).set_exception(self._ending(id))
            yield

    @staticmethod
    def _ending(id: int) -> Unavailable:
        return Unavailable(f"Engine {id} is being removed or unloaded.")

    async def resident(self, ref: str, version: str | None = None) -> Resolved:
        """The engine that a reference stands for, once it is READY; loads it if that is needed.

        Whoever uses it before the next `await` finds it READY. Raises why it cannot be loaded, NotFound if
        there is none any more, and QueueFull if as many requests wait for it as may.
        """
        resolved = self._lookup.resolve(ref, version)
        if resolved.engine.state is State.READY:
            return resolved
        if not resolved.engine.wakes:
            raise Unavailable(resolved.engine.why_not_ready())
        self._check_room(resolved.engine)
        self.waits += 1
        while True:
            await self._wait(resolved.engine)
            resolved = self._lookup.resolve(ref, version)
            if resolved.engine.state is State.READY:
                return resolved

    async def _wait(self, engine: Engine) -> None:
        """Wait until its load, or the wait for that, has ended. Raises why it failed."""
        id = engine.id
        self._waiting[id] += 1
        try:
            load = self._load(engine)
            end = self._ends.setdefault(id, asyncio.get_running_loop().create_future())
            await asyncio.wait((load, end), return_when=asyncio.FIRST_COMPLETED)
            (end if end.done() else load).result()
        finally:
            self._waiting[id] -= 1
            if self._waiting[id] == 0:
                del self._waiting[id]
                self._ends.pop(id, None)

    def _check_room(self, engine: Engine) -> None:
        most = engine.stored.options.max_queue_size
        if self._waiting.get(engine.id, 0) >= most:
            raise QueueFull(
                f"{most} requests wait for engine {engine} to be loaded, as many as its queue takes "
                "(max_queue_size): try again later.",
                retry_after=max(LEAST_RETRY_S, engine.past.cold_start_seconds or 0.0),
            )

    def _load(self, engine: Engine) -> asyncio.Task[bool]:
        """The load of an engine, which is begun unless it is under way."""
        load = self._loads.get(engine.id)
        if engine.id in self._unwanted:
            raise self._ending(engine.id)
        if load is None or load.done():
            if not engine.wakes:
                raise Unavailable(engine.why_not_ready())
            load = self._begin(self._wake(engine.id, partial(self.is_awaited, engine.id)))
            self._loads[engine.id] = load
            load.add_done_callback(partial(self._ended, engine.id))
        return load

    def _ended(self, id: int, load: asyncio.Task[bool]) -> None:
        if self._loads.get(id) is load:
            del self._loads[id]
        if not load.cancelled() and load.exception() is None:  # which those that wait have seen
            self.loads += load.result()
