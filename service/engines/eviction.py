"""Evicts engines: unloads those without work, and keeps them so that the next request loads them again."""

from runtime_ext import Error, Runtime
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

    def idle(self) -> dict[int, float]:
        """READY engines without work, and for how many seconds they were not used."""
        found = ((engine, self._unused_s(engine)) for engine in self._lookup.engines())
        return {engine.id: unused for engine, unused in found if unused is not None}

    def _unused_s(self, engine: Engine) -> float | None:
        """None while it has work, is being changed, or is called by a loaded module."""
        if engine.state is not State.READY or self._id_locks.is_held(engine.id):
            return None
        return self._without_work_s(engine)

    def _without_work_s(self, engine: Engine) -> float | None:
        if self._demand.is_awaited(engine.id) or self._dependencies.is_held(engine.id):
            return None
        try:
            now = self._runtime.condition(engine.id)
        except Error:
            return None
        return None if now.requests or now.leases else now.unused_seconds

    async def evict(self, id: int) -> bool:
        """Unload an engine that is still idle, and keep it DORMANT. False if it is not."""
        async with self._id_locks.hold(id):
            engine = self._lookup.get(id)
            if engine is None or engine.state is not State.READY or self._without_work_s(engine) is None:
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
