"""Finds out which engines a module calls, before anything of it runs here."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

from runtime_ext import Runtime
from runtime_ext.archive import inspect_module
from trtserve.engines.dependencies import Dependencies
from trtserve.engines.engine import Engine
from trtserve.engines.turns import Turns
from trtserve.plans.trial import References, Trials
from trtserve.shortage import check_memory

logger = logging.getLogger(__name__)


class Inspections:
    """Belongs to the event loop. Its caller holds the lock of the module's ID."""

    def __init__(
        self, runtime: Runtime, turns: Turns, trials: Trials | None, dependencies: Dependencies
    ) -> None:
        """`trials` inspects a module in a process of its own; None: this process does."""
        self._runtime = runtime
        self._turns = turns
        self._trials = trials
        self._dependencies = dependencies

    async def inspect(self, module: Engine, plan: Path) -> None:
        """Note in the module's row which engines it calls. Raises what is wrong with it, and Conflict for an
        engine that is missing."""
        async with self._turns.turn():
            check_memory()
            if self._trials is None:
                tensors = module.stored.options.tensors
                found = await asyncio.to_thread(inspect_module, self._runtime, plan, tensors)
                references = References(found.engine_ids, found.engine_names)
            else:
                logger.info("module %s: is inspected in a process of its own", module)
                told = await self._trials.run(plan, module.stored)
                assert isinstance(told, References), "the trial of a module inspects it"
                references = told
        uses = self._dependencies.resolve(references, module.stored.uses)
        module.stored = replace(module.stored, uses=uses)
