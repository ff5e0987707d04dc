"""Evicts engines: unloads those without work, and keeps them so that the next request loads them again."""

from collections.abc import Iterable

from runtime_ext import Condition, Error, Runtime
from trtserve.engines.demand import Demand
from trtserve.engines.engine import Engine, State
from trtserve.engines.parts import Parts


class Evictions:
    """Belongs to the event loop. An eviction holds the lock of the engine's ID, as other changes do."""

    def __init__(self, parts: Parts, runtime: Runtime, demand: Demand) -> None:
        self._lookup, self._loader = parts.lookup, parts.loader
        self._id_locks, self._dependencies = parts.id_locks, parts.dependencies
        self._runtime = runtime
        self._demand = demand

    def idle(self, ids: Iterable[int]) -> dict[int, Condition]:
        """Those of these engines that are READY and without work, and that nothing changes."""
        found = {
            id: self._without_work(engine)
            for id in ids
            if (engine := self._lookup.get(id)) is not None and not self._id_locks.is_held(id)
        }
        return {id: condition for id, condition in found.items() if condition is not None}

    def _without_work(self, engine: Engine) -> Condition | None:
        """None too while a loaded module calls it."""
        if engine.state is not State.READY or self._demand.is_awaited(engine.id):
            return None
        if self._dependencies.is_held(engine.id):
            return None
        try:
            now = self._runtime.condition(engine.id)
        except Error:
            return None
        return None if now.requests or now.leases else now

    async def evict(self, id: int) -> bool:
        """Unload an engine that is still idle, and keep it DORMANT. False if it is not."""
        async with self._id_locks.hold(id):
            engine = self._lookup.get(id)
            if engine is None or self._without_work(engine) is None:
                return False
            # From here to the end of this step no request can reach it: they are submitted on this loop.
            engine.state, engine.moving = State.DRAINING, True
            try:
                await self._loader.evict(engine)
            finally:
                self._lookup.show(
                    Engine(
                        engine.stored,
                        State.DORMANT,
                        info=engine.info,
                        load_seconds=engine.load_seconds,
                        metadata=engine.metadata,
                        names=engine.names,
                    )
                )
            self._demand.evictions += 1
            return True
