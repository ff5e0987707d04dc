"""Adds engines: from an upload into the store, and into the runtime.

A change holds the lock of the engine's ID, as those in lifecycle.py do.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace

from trtserve.engines.engine import Engine, Resolved, State
from trtserve.engines.lifecycle import Lifecycle, is_ready, take_over_build
from trtserve.engines.parts import Parts
from trtserve.engines.reasons import reason_of
from trtserve.errors import Unavailable
from trtserve.options.engine_options import EngineOptions
from trtserve.store.database import StoredEngine
from trtserve.store.staging import StagedPlan
from trtserve.workers import UPLOADS

logger = logging.getLogger(__name__)


class Adding:
    """The steps of the registry's operations. Belongs to the event loop; the store is called in a thread."""

    def __init__(self, parts: Parts, lifecycle: Lifecycle) -> None:
        self._store, self._lookup, self._loader = parts.store, parts.lookup, parts.loader
        self._stored, self._read = parts.threads.call, parts.threads.read
        self._builds = parts.builds
        self._id_locks, self._dependencies = parts.id_locks, parts.dependencies
        self._rename = parts.rename
        self._lifecycle = lifecycle

    async def add(
        self,
        plan: StagedPlan,
        wanted: StoredEngine,
        name: str | None,
        asked: EngineOptions,
        version: int | None = None,
        *,
        admit: Callable[[Engine], None] | None = None,
        accepted: asyncio.Future[Resolved] | None = None,
    ) -> tuple[Resolved, bool]:
        """`accepted` is set once a restart would go on with the build of the engine, if it needs one.

        `admit` gets the engine once it is loaded, and may raise what undoes the addition.
        """
        try:
            self._loader.refuse_when_stopping()
            self._loader.turns.check_room()
            with self._builds.admitted() if wanted.build is not None else nullcontext():
                return await self._add(plan, wanted, name, asked, version, admit=admit, accepted=accepted)
        finally:
            await UPLOADS.run(plan.discard)

    async def _add(
        self,
        plan: StagedPlan,
        wanted: StoredEngine,
        name: str | None,
        asked: EngineOptions,
        version: int | None,
        *,
        admit: Callable[[Engine], None] | None,
        accepted: asyncio.Future[Resolved] | None,
    ) -> tuple[Resolved, bool]:
        async with self._id_locks.hold(wanted.id):
            there = self._lookup.get(wanted.id)
            if there is not None:
                there.check_same_plan(wanted)
            # Under the ID's lock an engine that is there is READY, UNLOADED or FAILED, or its load waits to
            # be tried again.
            if there is not None and there.state is State.READY:
                await self._repair(plan, there)
                await self._lifecycle.ensure_loaded(self._lookup.get(wanted.id) or there, asked)
                engine = self._lookup.get(wanted.id) or there  # with the options that it is loaded with now
                if admit is not None:
                    admit(engine)
                await self._rename(self._store.commit, engine.stored, name, version)
                engine = self._lookup.get(wanted.id) or engine
            else:
                wanted.options.check()
                engine = await self._load_new(
                    plan, wanted, name, version, kept=there, admit=admit, accepted=accepted
                )
            return self._lookup.label(engine, name), there is None

    async def _repair(self, plan: StagedPlan, there: Engine) -> None:
        """If the stored plan of a READY engine is damaged, replace it and reload the engine.

        Where the upload is a model, a plan is built from it. The engine may have loaded the damaged bytes,
        and a library may have mapped them.
        """
        if there.stored.build is not None:
            await self._stored(self._store.adopt, plan, there.stored)
        try:
            await self._read(self._store.check_plan, there.stored)
            return
        except Unavailable as damage:
            logger.warning("engine %s: repaired by an upload: %s", there, damage)
        if there.stored.build is None:
            await self._stored(self._store.adopt, plan, there.stored)
        self._dependencies.check_unused(there)
        engine = Engine(there.stored, names=there.names)
        self._lookup.show(engine)
        try:
            await self._loader.unload(there)
            await self._builds.refresh(engine, again=True)
            await self._loader.load(engine, self._store.plan_path(engine.stored))
        except Exception as failure:
            engine.state, engine.reason = State.FAILED, reason_of(engine, failure)
            raise
        engine.state = State.READY

    async def _load_new(
        self,
        plan: StagedPlan,
        wanted: StoredEngine,
        name: str | None,
        version: int | None,
        *,
        kept: Engine | None,
        admit: Callable[[Engine], None] | None,
        accepted: asyncio.Future[Resolved] | None,
    ) -> Engine:
        """Load and store a new engine, or one that is stored but not loaded.

        On failure everything is undone; but an engine that was accepted before its build is FAILED.
        """
        engine = Engine(wanted, names=kept.names if kept else (), kept=kept is not None)
        if kept is not None:
            engine.moving = kept.state is State.DORMANT
            take_over_build(kept, engine)
        self._lookup.show(engine)
        try:
            await self._stored(self._store.adopt, plan, wanted)
            if accepted is not None:
                await self._accept(engine, name, version, accepted)
            await self._builds.refresh(engine, again=True)
            await self._loader.load_first(engine, self._store.plan_path(engine.stored), name)
            await self._admitted(engine, admit)
            await self._lifecycle.changes.commit(engine, name, version)
        except BaseException as failure:
            logger.warning("engine %s: not added: %s", engine, failure)
            if accepted is not None and accepted.done():
                self._lifecycle.fail(engine, failure, engine.progress)
            elif kept is None:
                self._lookup.hide(engine)
                await self._stored(self._store.delete_plan, wanted)
            else:
                take_over_build(engine, kept)
                self._lookup.show(kept)
            raise
        is_ready(engine)
        return engine

    async def _admitted(self, engine: Engine, admit: Callable[[Engine], None] | None) -> None:
        """Let a loaded engine be refused; it is unloaded then."""
        if admit is None:
            return
        try:
            admit(engine)
        except BaseException:
            await self._loader.unload(engine, drain=False)
            raise

    async def _accept(
        self, engine: Engine, name: str | None, version: int | None, accepted: asyncio.Future[Resolved]
    ) -> None:
        """Store an engine that has yet to be built, and what is to point to it then."""
        assert engine.stored.build is not None, "only a build is answered before it ends"
        build = engine.stored.build.with_(name=name, version=version, failure=None)
        engine.stored = replace(engine.stored, build=build)
        await self._rename(self._store.commit, engine.stored, None)
        engine.kept, engine.state = True, State.BUILDING
        accepted.set_result(self._lookup.label(engine, None))
