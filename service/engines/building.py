"""Builds the plans of engines that were uploaded as models: new ones, and again where that is needed.

One plan is built on a device at a time; other builds wait. A build can be cancelled at once, whatever it
does: it is a child process. What of it lasts is the store's (store.py).
"""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from runtime_ext import Error, Runtime
from runtime_ext.building import build_target
from trtserve.engines.engine import Engine, State
from trtserve.engines.keyed_lock import KeyedLock
from trtserve.engines.progress import Progress
from trtserve.engines.store_threads import StoreThreads
from trtserve.errors import Conflict, InvalidInput, TrtserveError, Unavailable, of_kind, stopping
from trtserve.options.devices import FIRST_GPU
from trtserve.plans.build import Build, Job, choose_builder
from trtserve.settings import Settings
from trtserve.shortage import passes
from trtserve.store.build_record import Failure
from trtserve.store.staging import StagedPlan
from trtserve.store.store import Store

logger = logging.getLogger(__name__)

RETRY_AFTER_S = 60.0


class Unwanted:
    """Stands for somebody who wants no build of an engine; `ended`: one was ended or refused for it."""

    ended = False


class Builds:
    """Belongs to the event loop and never blocks it. Its caller holds the lock of the engine's ID."""

    def __init__(
        self, runtime: Runtime, settings: Settings, store: Store, threads: StoreThreads, build: Build
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._threads = threads
        self._build_plan = build
        self._most_waiting = settings.max_waiting_builds
        self._most_bytes = settings.max_plan_bytes
        self._devices: KeyedLock[str] = KeyedLock()
        self._running: dict[int, asyncio.Task[StagedPlan]] = {}  # by engine ID
        self._unwanted: dict[int, list[Unwanted]] = {}  # by engine ID
        self._stopping = False
        self._admitted = 0  # uploads of models that are in progress
        self._building = 0  # builds that have their device
        self.waiting = 0
        self.outcomes = Counter({"succeeded": 0, "failed": 0, "cancelled": 0})

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Surrounds an upload of a model, whatever that waits for. Unavailable if as many wait as may."""
        waiting = self._admitted - max(self._building, 1)
        if waiting >= self._most_waiting:
            raise Unavailable(
                f"{waiting} builds are waiting, the limit (--max-waiting-builds): try again later.",
                retry_after=RETRY_AFTER_S,
            )
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1

    @contextmanager
    def unwanted(self, id: int) -> Iterator[Unwanted]:
        """End the build of an engine that is to be removed or unloaded, and let none begin meanwhile.

        Its operation, and those that wait for the engine's lock to build it, fail and give up the lock.
        """
        mark = Unwanted()
        self._unwanted.setdefault(id, []).append(mark)
        try:
            if id in self._running:
                self._running[id].cancel()
            yield mark
        finally:
            self._unwanted[id].remove(mark)
            if not self._unwanted[id]:
                del self._unwanted[id]

    def _refuse_unwanted(self, engine: Engine) -> None:
        marks = self._unwanted.get(engine.id)
        if marks is None:
            return
        for mark in marks:
            mark.ended = True
        raise Conflict(f"The build of engine {engine} was cancelled, because it was removed or unloaded.")

    def stop(self) -> None:
        """End all builds, and refuse new ones."""
        self._stopping = True
        for task in self._running.values():
            task.cancel()

    async def refresh(self, engine: Engine, *, again: bool) -> bool:
        """Build the engine's plan if it is built here and has none that this server can load.

        Returns whether it was built: the plan is in its place then, and `engine.stored` says so. A build that
        failed for this server's library and GPU is not tried again, unless `again`. Raises why it failed.
        """
        if engine.stored.build is None:
            return False
        if engine.stored.damage:
            raise Unavailable(engine.stored.damage)
        self._refuse_unwanted(engine)
        needed, backend, target = await self._needed(engine, again)
        if not needed:
            engine.state = State.LOADING
            return False
        engine.state = State.BUILDING
        engine.asks(engine)
        engine.progress = Progress(needed if engine.stored.build.plan else None)
        if engine.progress.reason:
            logger.warning("engine %s: is built again: %s", engine, engine.progress.reason)
        try:
            staged = await self._in_task(engine, backend, target)
        except Exception as failure:
            engine.progress.end("failed")
            await self._record_failure(engine, failure, target)
            raise
        engine.progress.end("done")
        build = engine.stored.build.with_(plan=staged.digest, target=target, failure=None)
        stored = replace(engine.stored, build=build, plan_bytes=staged.size)
        await self._threads.call(self._store.adopt_built, staged, stored)
        engine.stored = stored
        engine.state = State.LOADING
        return True

    async def _needed(self, engine: Engine, again: bool) -> tuple[str, str, str]:
        """Why the plan must be built, or an empty text; what builds it; and what for."""
        stored, build = engine.stored, engine.stored.build
        assert build is not None, "the engine is built here"
        try:
            backend = await asyncio.to_thread(choose_builder, self._runtime)
            target = await asyncio.to_thread(self._target, backend, _gpu(engine))
        except (Error, TrtserveError):
            if build.plan is None:
                raise
            return "", "", ""  # the library that loads the plan may be there, and has the last word
        if build.failure is not None and build.failure.target == target and not again:
            raise of_kind(build.failure.kind, build.failure.message)
        if build.plan is None:
            return "It has no plan yet.", backend, target
        if build.target != target:
            why = f"It was built for {build.target}, and this server has {target}."
            return why, backend, target
        try:
            await self._threads.read(self._store.check_plan, stored)
        except Unavailable:
            return "Its plan in the store was missing or damaged.", backend, target
        return "", backend, target

    def _target(self, backend: str, device: str) -> str:
        """What a plan that is built now is for. Raises InvalidInput for a GPU that is not there. Blocks."""
        try:
            return build_target(self._runtime, backend, device)
        except (AssertionError, RuntimeError) as failure:  # torch's, about the number of the device
            if isinstance(failure, Error):
                raise
            raise InvalidInput(
                f"device is {device}, and this machine has no such GPU to build a plan on: {failure}"
            ) from failure

    async def _in_task(self, engine: Engine, backend: str, target: str) -> StagedPlan:
        if self._stopping:
            raise stopping()
        self._refuse_unwanted(engine)
        task = asyncio.ensure_future(self._build(engine, backend, target))
        self._running[engine.id] = task
        outcome = "failed"
        try:
            staged = await task
            outcome = "succeeded"
            return staged
        except asyncio.CancelledError:
            outcome = "cancelled"
            if self._stopping:
                raise stopping() from None
            self._refuse_unwanted(engine)
            raise
        finally:
            self.outcomes[outcome] += 1
            del self._running[engine.id]

    async def _build(self, engine: Engine, backend: str, target: str) -> StagedPlan:
        """Wait for the device, then build the plan."""
        assert engine.progress is not None
        assert engine.stored.build is not None
        await self._threads.read(self._store.check_source, engine.stored)
        device = _gpu(engine)
        cache = self._store.built.timing_cache(cache_name(backend, target))
        job = Job(
            backend,
            self._store.source_path(engine.stored),
            self._store.built.new_part(),
            engine.stored.build.options.for_runtime(device, str(cache.absolute())),
            self._most_bytes,
        )
        self.waiting += 1
        counted = True
        try:
            async with self._devices.hold(FIRST_GPU.get(device, device)):
                self.waiting -= 1
                counted = False
                staged = await self._with_device(engine, job, target)
        except BaseException:
            with suppress(OSError):
                job.plan.unlink(missing_ok=True)
            raise
        finally:
            self.waiting -= counted
        logger.info("engine %s: built in %.1f s", engine, engine.progress.seconds)
        return staged

    async def _with_device(self, engine: Engine, job: Job, target: str) -> StagedPlan:
        assert engine.progress is not None
        engine.progress.begin()
        logger.info("engine %s: building (%s)", engine, target)
        self._building += 1
        try:
            await self._build_plan(job, engine.progress.tell)
            return await self._threads.read(self._store.built.stage, job.plan)
        finally:
            self._building -= 1

    async def _record_failure(self, engine: Engine, failure: Exception, target: str) -> None:
        """Keep why the build failed, so that a start does not try it again."""
        build = engine.stored.build
        kind = getattr(failure, "kind", "")
        if build is None or not kind or passes(failure) or isinstance(failure, Conflict) or self._stopping:
            return
        told = Failure(kind=kind, message=str(failure), target=target)
        stored = replace(engine.stored, build=build.with_(failure=told))
        try:
            await self._threads.call(self._store.record_build, stored)
        except Unavailable as broken:
            logger.warning("engine %s: why its build failed is not kept: %s", engine, broken)
        engine.stored = stored


def _gpu(engine: Engine) -> str:
    """The GPU that the plan is built on: the first of the engine's."""
    first = engine.stored.options.device.partition(",")[0]
    return "cuda" if first == "all" else first


def cache_name(backend: str, target: str) -> str:
    """The name of a timing cache: one for each library and kind of device, whose timings it has."""
    _, _, device = target.partition(", ")
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{backend}-{device or 'device'}").strip("-")[:100]
