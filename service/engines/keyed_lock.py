"""One asyncio lock for each key; it exists only while it is held or awaited."""

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

Key = TypeVar("Key", bound=Hashable)


class KeyedLock(Generic[Key]):
    """Locks by key. Belongs to one event loop."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    def hold(self, key: Key) -> asyncio.Lock:
        """The key's lock, to be entered; who holds or awaits it keeps it alive."""
        return self._locks.setdefault(key, asyncio.Lock())

    def is_held(self, key: Key) -> bool:
        lock = self._locks.get(key)
        return lock is not None and lock.locked()
