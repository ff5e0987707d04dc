"""Evicts engines: unloads those without work, and keeps them so that the next request loads them again."""

from collections.abc import Container, Iterable

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

    def idle(self, ids: Iterable[int], *, called: bool = False) -> dict[int, Condition]:
        """Those of these engines that are READY and without work, and that nothing changes.

        Without those that modules call, unless `called`: then with those whose modules are among them, and so
        may go first, or still wait for memory themselves.
        """
        idle = {
            id: condition
            for id in ids
            if (engine := self._lookup.get(id)) is not None
            and not self._id_locks.is_held(id)
            and (condition := self._without_work(engine)) is not None
        }
        may_go = self._may_go if called else self._is_not_called
        return {id: condition for id, condition in idle.items() if may_go(id, idle)}

    def _is_not_called(self, id: int, idle: Container[int]) -> bool:
        return not self._dependencies.is_called(id)

    def _may_go(self, id: int, idle: Container[int]) -> bool:
        return all(user in idle and self._may_go(user, idle) for user in self._dependencies.keepers(id))

    def _without_work(self, engine: Engine) -> Condition | None:
        if engine.state is not State.READY or self._demand.is_awaited(engine.id):
            return None
        try:
            now = self._runtime.condition(engine.id)
        except Error:
            return None
        return None if now.requests or now.leases else now

    async def evict(self, id: int) -> bool:
        """Unload an engine that is still idle, after the modules that keep it, and leave it DORMANT.

        False if one of them is not idle.
        """
        for user in self._dependencies.keepers(id):
            if not await self.evict(user):
                return False
        async with self._id_locks.hold(id):
            engine = self._lookup.get(id)
            if engine is None or self._without_work(engine) is None or self._dependencies.keepers(id):
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
