"""Which engines modules call: a module is loaded after them, and they stay as long as it does.

While it is loaded, the runtime too refuses to unload them. Until it has its memory they may still be evicted
for others: whoever waits for memory holds none, so that no two loads wait for each other. A name in a module
stands for the engine that it stood for when the module was uploaded.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from trtserve.engines.engine import Engine, Resolved, State
from trtserve.engines.keyed_lock import KeyedLock
from trtserve.engines.lookup import Lookup
from trtserve.errors import Conflict, NotFound, Unavailable
from trtserve.plans.trial import References
from trtserve.shortage import RETRY_AFTER_S
from trtserve.store.module_uses import Uses
from trtserve.text import listed, shown

UNLOAD_THEM = "unload those first, or pass unload_dependents=true"
REMOVE_THEM = "remove those first, or pass force=true, which unloads them"


class Ref(NamedTuple):
    """An engine that a module calls."""

    id: int
    said: str  # how the module calls it: "engine 5", "'resnet' (engine 5)"


class Dependencies:
    """Belongs to the event loop."""

    def __init__(self, lookup: Lookup, id_locks: KeyedLock[int]) -> None:
        self._lookup = lookup
        self._id_locks = id_locks
        self._called: dict[int, tuple[int, ...]] = {}  # by a module's place, from its load on: its engines
        self._keeping: set[int] = set()  # of these places: those that have their memory
        # Loads a DORMANT engine; set by the registry, before the first load.
        self.wake: Callable[[str], Awaitable[Resolved]]

    def resolve(self, found: References, known: Uses | None) -> Uses:
        """The engines of a module's references. A name that was resolved before stays what it was.

        Raises Conflict, which names what is missing.
        """
        names = dict(known.names) if known is not None else {}
        missing = [f"engine {id}" for id in found.ids if self._lookup.get(id) is None]
        for name in found.names:
            if name in names:
                continue
            try:
                names[name] = self._lookup.resolve(name).engine.id
            except NotFound:
                missing.append(shown(name))
        if missing:
            raise Conflict(
                f"The module calls {listed(missing)}, which this server does not have: upload "
                f"{'them' if len(missing) > 1 else 'it'} first, then the module."
            )
        return Uses(ids=tuple(found.ids), names={name: names[name] for name in found.names})

    async def ready(self, module: Engine) -> None:
        """Load the engines that a module calls, where they are not; evictions take others first.

        Raises Conflict if one is missing or cannot be used, and Unavailable if it may be usable later.
        """
        uses = module.stored.uses
        if uses is None or not uses.engines:
            return
        self._called[module.place] = uses.engines
        for ref in _refs(uses):
            await self._ready(module, ref)

    def keep(self, module: Engine) -> bool:
        """Keep the engines that a module calls until release(). False if one is not READY any more."""
        found = [self._lookup.get(id) for id in module.calls]
        if any(engine is None or engine.state is not State.READY for engine in found):
            return False
        if module.calls:
            self._keeping.add(module.place)
        return True

    async def _ready(self, module: Engine, ref: Ref) -> None:
        async with self._id_locks.hold(ref.id):  # a change of it that has begun ends first
            engine = self._found(module, ref)
            if engine.state is State.READY:
                return
        if engine.state is State.DORMANT:
            await self.wake(str(ref.id))
            return
        told = f"Module {module} calls {ref.said}, which is not ready. {engine.why_not_ready()}"
        if engine.state in {State.LOADING, State.DRAINING}:
            raise Unavailable(told, retry_after=RETRY_AFTER_S)
        raise Conflict(told)

    def _found(self, module: Engine, ref: Ref) -> Engine:
        engine = self._lookup.get(ref.id)
        if engine is None:
            raise Conflict(
                f"Module {module} calls {ref.said}, which this server does not have any more: upload its "
                "plan again, then load the module."
            )
        return engine

    def release(self, place: int) -> None:
        """A module is not loaded any more in its place; any other place is ignored."""
        self._called.pop(place, None)
        self._keeping.discard(place)

    def is_called(self, id: int) -> bool:
        """True if a module that is loaded, or being loaded, calls the engine."""
        return any(id in engines for engines in self._called.values())

    def keepers(self, id: int) -> list[int]:
        """The places of the modules without which the engine would not stay."""
        return [place for place in self._keeping if id in self._called[place]]

    def loaded_users(self, id: int) -> list[Engine]:
        """The modules that call the engine and are loaded, or being loaded."""
        return self._engines(user for user, engines in self._called.items() if id in engines)

    def users(self) -> dict[int, list[Engine]]:
        """All modules that call an engine, by its ID; engines that none calls are missing.

        Takes time in proportion to all engines: ask once for a page of them.
        """
        found: dict[int, list[Engine]] = {}
        for engine in self._lookup.engines():
            for id in engine.calls:
                found.setdefault(id, []).append(engine)
        return found

    def users_of(self, id: int) -> list[Engine]:
        """All modules that call the engine."""
        return self.users().get(id, [])

    def _engines(self, ids: Iterable[int]) -> list[Engine]:
        return [engine for id in ids if (engine := self._lookup.get(id)) is not None]

    def check_unused(self, engine: Engine) -> None:
        """Raise Conflict if a loaded module calls the engine, which is to be unloaded."""
        self._refuse(engine, self.loaded_users(engine.id), UNLOAD_THEM)

    def check_unreferenced(self, engine: Engine) -> None:
        """Raise Conflict if a module calls the engine, which is to be removed."""
        self._refuse(engine, self.users_of(engine.id), REMOVE_THEM)

    @staticmethod
    def _refuse(engine: Engine, users: list[Engine], advice: str) -> None:
        if users:
            which = listed([str(user) for user in users[:10]])
            modules = "modules" if len(users) > 1 else "module"
            raise Conflict(f"Engine {engine} is called by {modules} {which}: {advice}.")


def _refs(uses: Uses) -> list[Ref]:
    said = {id: f"{shown(name)} (engine {id})" for name, id in uses.names.items()}
    return [Ref(id, said.get(id, f"engine {id}")) for id in uses.engines]


def in_order(engines: Iterable[Engine]) -> list[list[Engine]]:
    """The engines in groups: those of a group call none of it, nor of the groups before it."""
    left = {engine.id: engine for engine in engines}
    groups: list[list[Engine]] = []
    while left:
        called = {id for engine in left.values() for id in engine.calls}
        group = [engine for id, engine in left.items() if id not in called] or list(left.values())
        groups.append(group)
        for engine in group:
            del left[engine.id]
    return groups
