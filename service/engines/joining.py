"""Joins no requests of an engine that nobody asked to batch, unless a check found that this is safe."""

import asyncio
import json
import logging
from dataclasses import replace
from pathlib import Path

from runtime_ext import EngineInfo, Runtime
from trtserve.engines.engine import Engine
from trtserve.errors import TrtserveError
from trtserve.plans.trial import Checked, Trials
from trtserve.store.batch_verdict import BatchVerdict
from trtserve.store.database import StoredEngine

logger = logging.getLogger(__name__)

NOT_CHECKED = Checked("it could not be checked whether that is safe; see the log", lasting=False)
NO_TRIALS = Checked(
    "it was not checked whether that is safe, because this server runs no plan in a process of its own first "
    "(--trial-load off)",
    lasting=False,
)

OF_MODULES = "requests of a module are joined only if max_batch_size says how many"

CHECK = 1  # raise it with every change of batch_check.py that may find something else


class Joining:
    """Belongs to the event loop. Its caller holds the lock of the engine's ID."""

    def __init__(self, runtime: Runtime, trials: Trials | None) -> None:
        """`trials` checks an engine in a process of its own; None: nothing does."""
        self._runtime = runtime
        self._trials = trials

    async def decide(
        self, engine: Engine, plan: Path, info: EngineInfo, checked: Checked | None, shown: str
    ) -> EngineInfo:
        """Return what is known of a loaded engine, in which its requests are joined or not.

        `checked` is what a trial that has just ended found; None: there was none. `shown` names the engine.
        The check that is in the engine's row holds as long as it has the same basis. It never fails: an
        engine that could not be checked joins no requests.
        """
        info = await self._decided(engine, plan, info, checked)
        if info.why_not_joined:
            logger.info("engine %s: its requests are not joined: %s", shown, info.why_not_joined)
        else:
            logger.info(
                "engine %s: its requests are joined into batches of up to %d", shown, info.max_batch_size
            )
        return info

    async def _decided(
        self, engine: Engine, plan: Path, info: EngineInfo, checked: Checked | None
    ) -> EngineInfo:
        if info.max_batch_size == 1:
            return info
        if engine.is_module:
            self._runtime.stop_joining(engine.place, OF_MODULES)
            return self._runtime.engine(engine.place)
        why = NOT_CHECKED.why
        try:
            basis = await asyncio.to_thread(self._basis, engine.stored, info)
            before = engine.stored.batching
            if checked is None and before is not None and before.basis == basis:
                checked = Checked(before.why)
            elif checked is None and self._trials is not None:
                logger.info("engine %s: is checked for batches in a process of its own", engine)
                told = await self._trials.run(plan, engine.stored)
                checked = told if isinstance(told, Checked) else NOT_CHECKED
            checked = checked or NO_TRIALS
            verdict = BatchVerdict(why=checked.why, basis=basis) if checked.lasting else None
            engine.stored = replace(engine.stored, batching=verdict)
            why = checked.why
        except TrtserveError as failure:
            logger.warning("engine %s: its batches could not be checked: %s", engine, failure)
        except Exception:
            logger.exception("engine %s: the check of its batches failed", engine)
        if not why:
            return info
        self._runtime.stop_joining(engine.place, why)
        return self._runtime.engine(engine.place)

    def _basis(self, stored: StoredEngine, info: EngineInfo) -> str:
        """What the check of an engine's batches depends on, as text. Blocks."""
        options = stored.options
        library = self._runtime.backend_version(info.backend)
        return json.dumps(
            [
                CHECK,
                stored.plan_digest,
                info.backend,
                library,
                info.device,
                options.precision,
                options.batch_dims,
            ]
        )
