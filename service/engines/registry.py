"""Names, versions, and the life of engines: (BUILDING →) LOADING → READY → DRAINING → gone, UNLOADED or
DORMANT, or FAILED.

The registry belongs to the event loop and never blocks it: the store, loads and unloads run in threads.
An operation that has begun runs to its end, even if its caller is cancelled. It is the one door to engines/:
most of it says what each operation promises.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from runtime_ext import Runtime
from trtserve.engines.adding import Adding
from trtserve.engines.building import Builds
from trtserve.engines.demand import Demand, NotResident
from trtserve.engines.dependencies import Dependencies, in_order
from trtserve.engines.endings import Endings
from trtserve.engines.engine import Engine, Resolved, State
from trtserve.engines.eviction import Evictions
from trtserve.engines.keyed_lock import KeyedLock
from trtserve.engines.lifecycle import Lifecycle
from trtserve.engines.loading import Loader
from trtserve.engines.lookup import Lookup
from trtserve.engines.operations import Operations
from trtserve.engines.parts import Parts
from trtserve.engines.residency import Residency
from trtserve.engines.retries import Sleep
from trtserve.engines.room import Room
from trtserve.engines.seam_options import tensorrt_options
from trtserve.engines.store_threads import StoreThreads
from trtserve.errors import Unavailable
from trtserve.formats.backends import backend_of
from trtserve.formats.format import Format
from trtserve.options.build_options import BuildOptions
from trtserve.options.engine_options import EngineOptions
from trtserve.plans.build import Build as PlanBuild
from trtserve.plans.build import ProcessBuild
from trtserve.plans.receive import Uploads
from trtserve.plans.trial import Trial
from trtserve.settings import Settings
from trtserve.store.build_record import Build
from trtserve.store.database import StoredEngine, StoredName
from trtserve.store.staging import StagedPlan, engine_id
from trtserve.store.store import Store
from trtserve.workers import UPLOADS

logger = logging.getLogger(__name__)

ID_DIGITS = 16  # the most of an engine's ID, which has 52 bits
CLEAR_UP_S = 5.0  # for operations whose load was given up to undo what they did


class Registry:
    def __init__(
        self,
        settings: Settings,
        store: Store,
        runtime: Runtime,
        trial: Trial | None = None,
        sleep: Sleep = asyncio.sleep,
        *,
        build: PlanBuild | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`trial` tries a plan before its first load here; None: no trial.

        `sleep` waits before a load is tried again, and while one waits for memory; `clock`, in seconds, tells
        what loads take, and how long engines stay loaded; it is called in any thread. `build`
        builds a plan; only tests give one.
        """
        self._settings = settings
        self._lookup = Lookup()
        self._operations = Operations()
        id_locks: KeyedLock[int] = KeyedLock()
        self.dependencies = Dependencies(self._lookup, id_locks)
        self.residency = Residency(clock)
        self.uploads = Uploads()
        room = Room(runtime, settings, self.residency, self.dependencies, sleep=sleep, clock=clock)
        self._loader = Loader(
            runtime,
            settings,
            store.marks,
            store.compiled,
            room=room,
            dependencies=self.dependencies,
            trial=trial,
            clock=clock,
        )
        threads = StoreThreads()
        build = build or ProcessBuild(tensorrt_options(settings), settings.build_timeout_s)
        self.builds = Builds(runtime, settings, store, threads, build)
        self._parts = Parts(
            store, threads, self._lookup, self._loader, self.builds, self.dependencies, id_locks
        )
        self._lifecycle = Lifecycle(self._parts, settings, sleep, clock, begin=self._operations.begin)
        self._adding = Adding(self._parts, self._lifecycle)
        self.demand = Demand(self._lookup, self._lifecycle.wake, self._operations.begin)
        self.dependencies.wake = self.demand.resident
        self._endings = Endings(self._parts, self.demand, self._lifecycle.changes)
        evictions = Evictions(self._parts, runtime, self.demand)
        room.idle, room.evict = evictions.idle, evictions.evict
        self.coming = 0  # models of a folder that the start has yet to look at; the folder counts them
        self._loading = 0  # stored engines whose load after a start has not ended
        self._restoring = 0  # likewise, with those that have never been built
        self._loaded = asyncio.Event()  # set once there are no more of the first,
        self._restored = asyncio.Event()  # and of the second

    async def start(self) -> None:
        """Start loading the stored engines in the background, except those that were unloaded."""
        for engine in await self._lifecycle.recall():
            # One that has never been built has never been served: nobody waits for it to be ready again.
            awaited = engine.stored.plan_digest is not None
            self._loading += awaited
            self._restoring += 1
            self._operations.begin(self._restore(engine, awaited))
        self._set_if_loaded()
        if self._restoring == 0:
            self._restored.set()

    def _set_if_loaded(self) -> None:
        if self._loading == 0:
            self._loaded.set()

    async def loaded(self) -> None:
        """Return once each stored engine that was served before has been loaded, or has failed."""
        await self._loaded.wait()

    async def restored(self) -> None:
        """Return once the load of each stored engine after the start has ended, well or not."""
        await self._restored.wait()

    async def _restore(self, engine: Engine, awaited: bool) -> None:
        try:
            await self._lifecycle.restore(engine)
        finally:
            self._loading -= awaited
            self._set_if_loaded()
            self._restoring -= 1
            if self._restoring == 0:
                self._restored.set()
                self._operations.begin(self._lifecycle.keep_measures())

    def begin_drain(self) -> None:
        """Start the drain time now, before close(): the server was asked to stop."""
        self._loader.begin_drain()

    async def close(self) -> None:
        """Wait for operations in progress, then drain and unload every engine. Refuses everything else.

        All of it has the drain time, which starts now unless it has started: a load or an execution that has
        not ended by then is left behind. A trial load or a build is ended at once.
        """
        self._loader.stop()
        self.builds.stop()
        await self.settled(self._loader.drain_left_s)
        self._loader.give_up_loads()
        await self.settled(CLEAR_UP_S)
        if self._operations:
            logger.warning("%d operations have not ended within the drain time", len(self._operations))
        await self._lifecycle.keep_measures()
        ready = [engine for engine in self.engines() if engine.state is State.READY]
        for engine in ready:
            engine.state = State.DRAINING
        for group in in_order(ready):
            unloads = (self._loader.unload(engine) for engine in group)
            ends = await asyncio.gather(*unloads, return_exceptions=True)
            for engine, failure in zip(group, ends, strict=True):
                if failure is not None:
                    logger.error("engine %s: not unloaded: %s", engine, failure)
        self._parts.threads.close()
        self._loader.close()

    async def rest(self, within_s: float) -> None:
        """Let operations in progress end, within `within_s` seconds, and change nothing in the store from
        then on, so that a successor can use it. Engines answer as before, and are loaded on demand."""
        await self.settled(within_s)
        await self._parts.threads.call(self._parts.store.rest)

    async def resume(self) -> None:
        """Change the store again: there is no successor."""
        await self._parts.threads.call(self._parts.store.resume)

    async def settled(self, within_s: float) -> None:
        """Wait until no operation is in progress, for at most `within_s` seconds."""
        await self._operations.settled(within_s)

    # -- asking; every request asks, so these are look-ups and nothing more

    def resolve(self, ref: str, version: str | None = None) -> Resolved:
        """The engine that an ID or a name stands for in its current version, or in the given one.

        NotFound says what there is. An engine without a name has version 1.
        """
        return self._lookup.resolve(ref, version)

    def ready(self, ref: str, version: str | None = None) -> Resolved:
        """The engine that resolve() finds, if it is READY; otherwise raises Unavailable with the reason.

        That is a NotResident if a request may wait for it: see Demand.resident().
        """
        resolved = self._lookup.resolve(ref, version)
        if resolved.engine.state is not State.READY:
            kind = NotResident if resolved.engine.wakes else Unavailable
            raise kind(resolved.engine.why_not_ready())
        return resolved

    def serves(self, ref: str, version: str | None = None) -> Resolved:
        """The engine that resolve() finds, if requests for it are served, now or once it is loaded."""
        resolved = self._lookup.resolve(ref, version)
        if resolved.engine.state is not State.READY and not resolved.engine.wakes:
            raise Unavailable(resolved.engine.why_not_ready())
        return resolved

    async def described(self, ref: str, version: str | None = None) -> Resolved:
        """The engine that serves() finds, with what a load finds out about it; loads it if that is needed."""
        resolved = self.serves(ref, version)
        return resolved if resolved.engine.info is not None else await self.demand.resident(ref, version)

    def engines(self) -> list[Engine]:
        return self._lookup.engines()

    def page(self, after: int, most: int, *, modules: bool = False) -> tuple[list[Engine], int | None]:
        """A page of the engines, or of the modules alone; see Lookup.page."""
        return self._lookup.page(after, most, modules=modules)

    def names(self) -> Mapping[str, StoredName]:
        return self._lookup.names()

    def names_of(self, id: str) -> list[str]:
        """The names whose versions point at the engine of this ID, or will; none if there is no such
        engine."""
        engine = self._lookup.get(int(id)) if len(id) <= ID_DIGITS else None
        if engine is None:
            return []
        build = engine.stored.build  # of an accepted one, whose name is still to come
        coming = [build.name] if build is not None and build.name is not None else []
        return [*(known.name for known in engine.names), *coming]

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

    def building(self) -> list[Engine]:
        """The engines whose plan is being built, or waits for that."""
        return [engine for engine in self.engines() if engine.state is State.BUILDING]

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
        build: BuildOptions | None = None,
        version: int | None = None,
        admit: Callable[[Engine], None] | None = None,
        accepted: asyncio.Future[Resolved] | None = None,
    ) -> tuple[Resolved, bool]:
        """Load the engine of a staged plan and keep it, or find the one that exists.

        With `build`, what is staged is a model, which the plan is built from first.

        A new version of the name has the next number, or `version` if that is greater; see Exactly for a
        `version` that is one. An engine that is loaded with other options serves on until it is loaded with
        these, see change(). `admit` gets the loaded engine before a name points to it, and may raise what
        undoes all.
        Returns what the upload stands for, and whether the engine is new. The staged file is gone
        afterwards, however this ends. Raises what the load raises, InvalidInput for options that do not
        go together, and Conflict for another plan with the same ID.
        """
        source = None
        if build is not None:
            source = Build(source=plan.digest, source_bytes=plan.size, options=build)
            format = Format.TENSORRT
        digest = source.digest if source is not None else plan.digest
        wanted = StoredEngine(
            id=engine_id(digest),
            digest=digest,
            format=format,
            backend=backend_of(format).name,
            options=options.decided(self._settings),
            plan_bytes=plan.size if source is None else 0,
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
            build=source,
        )
        adding = self._adding.add(plan, wanted, name, options, version, admit=admit, accepted=accepted)
        return await self._operations.run(adding)

    async def accept(
        self,
        plan: StagedPlan,
        *,
        name: str | None,
        options: EngineOptions,
        build: BuildOptions,
        wait_s: float = 0.0,
    ) -> tuple[Resolved, bool | None]:
        """Like add() of a model, but return once a restart would go on with the build and `wait_s` are over.

        Instead of whether the engine is new, None is returned if it is still to be built. Then it is FAILED
        if that fails.
        """
        there = self._lookup.get(engine_id(Build(source=plan.digest, source_bytes=0, options=build).digest))
        if there is not None and there.is_promised(name):
            await UPLOADS.run(plan.discard)
            return self._lookup.label(there, name), None
        accepted: asyncio.Future[Resolved] = asyncio.get_running_loop().create_future()
        adding = asyncio.ensure_future(
            self.add(plan, name=name, format=Format.ONNX, options=options, build=build, accepted=accepted)
        )
        adding.add_done_callback(lambda done: done.cancelled() or done.exception())  # it is in the engine
        await asyncio.wait((adding, accepted), return_when=asyncio.FIRST_COMPLETED)
        if accepted.done():
            await asyncio.wait((adding,), timeout=wait_s)
            kept = self._lookup.get(accepted.result().engine.id)
            if kept is not None and kept.state is not State.READY:
                return self._lookup.label(kept, None), None
        return await adding

    async def load(self, ref: str, options: EngineOptions | None = None) -> None:
        """Load again the engines of all versions of a name, or the engine of an ID.

        The current version comes first. A READY engine stays as it is, unless other options are asked for:
        see change(). The first failure is raised once all have been tried.
        """
        await self._operations.run(self._lifecycle.load(ref, options or EngineOptions()))

    async def change(
        self, ref: str, options: EngineOptions, *, in_place: bool = False, wait_s: float | None = None
    ) -> tuple[Resolved, bool]:
        """Give the engine that a reference stands for other options, while it serves.

        If that fails, it serves on as before, and the failure is raised. With `in_place`, it is loaded once
        it is unloaded. An engine that is DORMANT or UNLOADED has the options from its next load on; one that
        is FAILED is loaded with them. Returns the engine, and whether it is done within `wait_s`.
        """
        self._operations.check()  # before the engine shows the change
        changing = self._operations.ask(self._lifecycle.change(ref, options, in_place=in_place))
        changing.add_done_callback(lambda done: done.cancelled() or done.exception())  # the engine has it
        await asyncio.wait((changing,), timeout=wait_s)
        if changing.done():
            changing.result()
        return self._lookup.resolve(ref), changing.done()

    async def unload(self, ref: str, *, dependents: bool = False) -> None:
        """Unload the engines of all versions of a name, or the engine of an ID, and keep them on disk.

        New requests are refused from the beginning; those that were accepted get the drain time. Raises
        Conflict if a loaded module calls one; with `dependents`, it is unloaded first.
        """
        await self._operations.run(self._endings.unload(ref, dependents))

    async def point(self, name: str, version: int) -> None:
        """Make a version of a name current, after loading its engine if it is not READY."""
        await self._operations.run(self._lifecycle.point(name, version))

    async def remove(self, ref: str, *, force: bool = False, version: int | None = None) -> None:
        """Remove what a reference stands for, and return when it is gone.

        By ID: the engine and every version that points to it. By name: the current version of the
        name, or `version`, and its engine unless another version points to it. New requests are refused from
        the beginning; those that were accepted get the drain time. Raises Conflict if a module calls the
        engine; with `force`, the module is unloaded first, and cannot be loaded until the engine is back.
        """
        await self._operations.run(
            self._endings.remove(ref, force, None if version is None else str(version))
        )
