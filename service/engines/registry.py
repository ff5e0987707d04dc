"""Names, versions, and the life of engines: LOADING → READY → DRAINING → gone or UNLOADED, or FAILED.

The registry belongs to the event loop and never blocks it: the store, loads and unloads run in threads.
An operation that has begun runs to its end, even if its caller is cancelled.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from runtime_ext import Runtime
from trtserve.engines.engine import Engine, Resolved, State
from trtserve.engines.lifecycle import Lifecycle, Sleep
from trtserve.engines.loading import Loader
from trtserve.engines.lookup import Lookup
from trtserve.errors import Unavailable
from trtserve.formats.backends import backend_of
from trtserve.formats.format import Format
from trtserve.options.engine_options import EngineOptions
from trtserve.plans.trial import Trial
from trtserve.settings import Settings
from trtserve.store.database import StoredEngine, StoredName
from trtserve.store.staging import StagedPlan, engine_id
from trtserve.store.store import Store

logger = logging.getLogger(__name__)

T = TypeVar("T")

CLEAR_UP_S = 5.0  # for operations whose load was given up to undo what they did


class Registry:
    def __init__(
        self,
        settings: Settings,
        store: Store,
        runtime: Runtime,
        trial: Trial | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """`trial` tries a plan before its first load here; None: no trial.

        `sleep` waits before a load is tried again.
        """
        self._settings = settings
        self._lookup = Lookup()
        self._loader = Loader(runtime, settings, store.marks, trial)
        self._lifecycle = Lifecycle(store, self._lookup, self._loader, sleep)
        self._loading = 0  # stored engines whose load after a start has not ended
        self._operations: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Start loading the stored engines in the background, except those that were unloaded."""
        engines = await self._lifecycle.recall()
        self._loading = len(engines)
        for engine in engines:
            self._begin(self._restore(engine))

    async def _restore(self, engine: Engine) -> None:
        try:
            await self._lifecycle.restore(engine)
        finally:
            self._loading -= 1

    def begin_drain(self) -> None:
        """Start the drain time now, before close(): the server was asked to stop."""
        self._loader.begin_drain()

    async def close(self) -> None:
        """Wait for operations in progress, then drain and unload every engine. Refuses everything else.

        All of it has the drain time, which starts now unless it has started: a load or an execution that has
        not ended by then is left behind. A trial load is ended at once.
        """
        self._loader.stop()
        await self._settled(self._loader.drain_left_s)
        self._loader.give_up_loads()
        await self._settled(CLEAR_UP_S)
        if self._operations:
            logger.warning("%d operations have not ended within the drain time", len(self._operations))
        ready = [engine for engine in self.engines() if engine.state is State.READY]
        for engine in ready:
            engine.state = State.DRAINING
        unloads = (self._loader.unload(engine) for engine in ready)
        ends = await asyncio.gather(*unloads, return_exceptions=True)
        for engine, failure in zip(ready, ends, strict=True):
            if failure is not None:
                logger.error("engine %s: not unloaded: %s", engine, failure)
        self._lifecycle.close()
        self._loader.close()

    async def _settled(self, within_s: float) -> None:
        """Wait until no operation is in progress, for at most `within_s` seconds."""
        deadline = asyncio.get_running_loop().time() + within_s
        while self._operations and (left_s := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._operations, timeout=left_s)

    # -- asking; every request asks, so these are look-ups and nothing more

    def resolve(self, ref: str, version: str | None = None) -> Resolved:
        """The engine that an ID or a name stands for in its current version, or in the given one.

        NotFound says what there is. An engine without a name has version 1.
        """
        return self._lookup.resolve(ref, version)

    def ready(self, ref: str, version: str | None = None) -> Resolved:
        """The engine that resolve() finds, if it is READY; otherwise raises Unavailable with the reason."""
        resolved = self._lookup.resolve(ref, version)
        if resolved.engine.state is not State.READY:
            raise Unavailable(resolved.engine.why_not_ready())
        return resolved

    def engines(self) -> list[Engine]:
        return self._lookup.engines()

    def names(self) -> Mapping[str, StoredName]:
        return self._lookup.names()

    def name(self, name: str) -> StoredName:
        """What a name stands for; NotFound says which names there are."""
        return self._lookup.name(name)

    @property
    def loading(self) -> int:
        """Stored engines that are still loading after a start; a load by an upload does not count."""
        return self._loading

    def load_problems(self) -> list[str]:
        """Why stored engines are not loaded after a start, a sentence each."""
        waiting = (engine for engine in self.engines() if engine.state is State.LOADING and engine.reason)
        return [f"Engine {engine}: {engine.reason}" for engine in waiting]

    @property
    def loads_waiting(self) -> int:
        """The number of uploads and loads that wait for their turn."""
        return self._loader.turns.waiting

    @property
    def loads_given_up(self) -> int:
        """The number of loads that were given up because they took too long, and have not ended."""
        return self._loader.given_up

    # -- changing; each returns once it is done

    async def add(
        self,
        plan: StagedPlan,
        *,
        name: str | None,
        format: Format,
        options: EngineOptions,
        version: int | None = None,
        renew: bool = False,
    ) -> tuple[Resolved, bool]:
        """Load the engine of a staged plan and keep it, or find the one that exists.

        A new version of the name has the next number, or `version` if that is greater. With `renew`,
        an engine that is loaded with other options is reloaded with these.
        Returns what the upload stands for, and whether the engine is new. The staged file is gone
        afterwards, however this ends. Raises what the load raises, InvalidInput for options that do not
        go together, and Conflict for another plan with the same ID or other options than the engine has.
        """
        wanted = StoredEngine(
            id=engine_id(plan.digest),
            digest=plan.digest,
            format=format,
            backend=backend_of(format).name,
            options=options.decided(self._settings),
            plan_bytes=plan.size,
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        return await self._run(self._lifecycle.add(plan, wanted, name, options, version, renew=renew))

    async def load(self, ref: str, options: EngineOptions | None = None, *, renew: bool = False) -> None:
        """Load again the engines of all versions of a name, or the engine of an ID.

        The current version comes first. A READY engine stays as it is, unless it has other options:
        with `renew` it finishes what it accepted and is reloaded with these; otherwise that is a Conflict.
        The first failure is raised once all have been tried.
        """
        await self._run(self._lifecycle.load(ref, options or EngineOptions(), renew))

    async def unload(self, ref: str) -> None:
        """Unload the engines of all versions of a name, or the engine of an ID, and keep them on disk.

        New requests are refused from the beginning; those that were accepted get the drain time.
        """
        await self._run(self._lifecycle.unload(ref))

    async def point(self, name: str, version: int) -> None:
        """Make a version of a name current, after loading its engine if it is not READY."""
        await self._run(self._lifecycle.point(name, version))

    async def remove(self, ref: str) -> None:
        """Remove what a reference stands for, and return when it is gone.

        By ID: the engine and every version that points to it. By name: the current version of the
        name, and its engine unless another version points to it. New requests are refused from the
        beginning; those that were accepted get the drain time.
        """
        await self._run(self._lifecycle.remove(ref))

    # -- running

    async def _run(self, operation: Coroutine[Any, Any, T]) -> T:
        return await asyncio.shield(self._begin(operation))

    def _begin(self, operation: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run an operation to its end, even if its caller is cancelled; close() waits for all of them."""
        task = asyncio.create_task(operation)
        self._operations.add(task)
        task.add_done_callback(self._operations.discard)
        return task
