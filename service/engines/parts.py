"""What the changes of engines share: the store, the look-ups, loads and builds, and the locks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec

from trtserve.engines.building import Builds
from trtserve.engines.dependencies import Dependencies
from trtserve.engines.engine import Engine
from trtserve.engines.keyed_lock import KeyedLock
from trtserve.engines.loading import Loader
from trtserve.engines.lookup import Lookup
from trtserve.engines.store_threads import StoreThreads
from trtserve.store.database import StoredName
from trtserve.store.store import Store

P = ParamSpec("P")


@dataclass(frozen=True)
class Parts:
    """Belongs to the event loop; the store is called in a thread."""

    store: Store
    threads: StoreThreads
    lookup: Lookup
    loader: Loader
    builds: Builds
    dependencies: Dependencies
    id_locks: KeyedLock[int]
    names_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def rename(
        self, change: Callable[P, dict[str, StoredName]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Make a change in the store that returns all names, and show them."""
        async with self.names_lock:
            self.lookup.rename(await self.threads.call(change, *args, **kwargs))

    def still(self, ref: str, id: int) -> Engine | None:
        """The engine; None if the reference no longer stands for it after the wait for its lock."""
        return self.lookup.get(id) if id in self.lookup.ids(ref) else None
