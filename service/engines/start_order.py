"""The order in which the engines that a start loads ask for memory."""

import asyncio
from collections.abc import Iterable, Iterator

from trtserve.engines.dependencies import in_order
from trtserve.engines.engine import Engine, State


class StartOrder:
    """Pinned engines and those that they call ask first; the others wait until each pinned one has asked.

    A module comes after the engines that it calls. Belongs to the event loop.
    """

    def __init__(self, engines: Iterable[Engine]) -> None:
        called_last = in_order(engines)
        self._engines = [
            engine
            for group in reversed(called_last)
            for engine in sorted(group, key=lambda each: each.stored.options.residency != "pinned")
        ]
        calls = {engine.id: set(engine.calls) for engine in self._engines}
        # Pinned engines that have not asked: each with what is loaded before it, and itself.
        self._awaited = {
            engine.id: _reached(engine.id, calls)
            for engine in self._engines
            if engine.stored.options.residency == "pinned"
        }
        self._first = set().union(*self._awaited.values())
        self._all_asked = asyncio.Event()
        self._tell()

    def __iter__(self) -> Iterator[Engine]:
        return iter(self._engines)

    async def turn(self, engine: Engine) -> None:
        """Return when the engine's load may begin."""
        if engine.id not in self._first:
            await self._all_asked.wait()

    def asks(self, engine: Engine) -> None:
        """The engine has asked for memory, or its plan is being built, for which nobody waits."""
        done = {engine.id}
        if engine.state is State.BUILDING:
            done |= {id for id, reached in self._awaited.items() if engine.id in reached}
        self._awaited = {id: reached for id, reached in self._awaited.items() if id not in done}
        self._tell()

    def _tell(self) -> None:
        if not self._awaited:
            self._all_asked.set()


def _reached(id: int, calls: dict[int, set[int]]) -> set[int]:
    """An engine, and all that it calls and that these call."""
    reached: set[int] = set()
    left = {id}
    while left:
        reached |= left
        left = set().union(*(calls.get(one, set()) for one in left)) - reached
    return reached
