"""Gets engines into the runtime and out of it: in threads, and no further once the server stops."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from runtime_ext import Error, Runtime
from service.engine import Engine
from service.errors import TrtserveError, Unavailable
from service.load_options import load_options
from service.plan_format import Format
from service.preflight import explained
from service.tensorrt_plan import read_metadata
from service.trial import Trial, TrialLoads

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOADS_AT_ONCE = 2  # a load uses every core it can get, or one GPU
DRAINS_AT_ONCE = 8  # a drain mostly waits


class Residency:
    """Belongs to the event loop and never blocks it. Its caller holds the lock of the engine's ID."""

    def __init__(self, runtime: Runtime, drain_s: float, trial: Trial | None) -> None:
        """`trial` is what a TensorRT plan must stand before it is loaded here; None: nothing."""
        self._runtime = runtime
        self._drain_s = drain_s
        self._trials = TrialLoads(trial, LOADS_AT_ONCE) if trial is not None else None
        self._stopping = False
        self._drained_by: float | None = None  # once stopping: when the drain time ends (time.monotonic)
        self._load_threads = ThreadPoolExecutor(LOADS_AT_ONCE, "trtserve-load")
        self._drain_threads = ThreadPoolExecutor(DRAINS_AT_ONCE, "trtserve-drain")

    def refuse_when_stopping(self) -> None:
        if self._stopping:
            raise Unavailable("The server is stopping.")

    def stop(self) -> None:
        """Load nothing more and end the trials; the drain time, of all engines together, begins now."""
        self._stopping = True
        if self._trials is not None:
            self._trials.stop()
        self._drained_by = time.monotonic() + self._drain_s

    def close(self) -> None:
        for threads in (self._load_threads, self._drain_threads):
            threads.shutdown(wait=False)

    async def load_first(self, engine: Engine, plan: Path, name: str | None) -> None:
        """Load what nobody has loaded here before: TensorRT's after a trial; its failures name versions."""
        stored = engine.stored
        try:
            if self._trials is not None and stored.format == Format.TENSORRT:
                logger.info("engine %s: trial load in a process of its own", engine)
                await self._trials.run(plan, stored)
            await self.load(engine, plan, name)
        except (TrtserveError, Error) as failure:
            if stored.format != Format.TENSORRT:
                raise
            told = await asyncio.to_thread(explained, self._runtime, plan, failure)
            if told is failure:
                raise
            raise told from failure

    async def load(self, engine: Engine, plan: Path, name: str | None = None) -> None:
        stored = engine.stored
        if name is None and engine.names:
            name = engine.names[0].name
        options = load_options(stored, name or "")
        shown = f"{engine.id} ({name})" if name else str(engine.id)
        logger.info("engine %s: loading (%s, %.1f MB)", shown, stored.format, stored.plan_bytes / 1e6)

        def load() -> None:
            self.refuse_when_stopping()  # again: it may have waited for a thread for long
            # First: once the runtime has the engine, nothing may fail here.
            engine.metadata = read_metadata(plan) if stored.format == Format.TENSORRT else None
            began = time.perf_counter()
            engine.info = self._runtime.load(stored.id, str(plan), stored.backend, options)
            engine.load_seconds = time.perf_counter() - began

        await self._in(self._load_threads, load)
        logger.info("engine %s: loaded in %.2f s", shown, engine.load_seconds)

    async def unload(self, engine: Engine, drain: bool = True) -> None:
        """Finish what the engine has accepted, within the drain time, and release it."""

        def unload() -> None:
            seconds = self._drain_s if drain else 0.0
            if self._drained_by is not None:  # looked at here, not before: it may have waited for a thread
                seconds = min(seconds, max(0.0, self._drained_by - time.monotonic()))
            self._runtime.unload(engine.id, seconds)

        await self._in(self._drain_threads, unload)
        logger.info("engine %s: unloaded", engine)

    async def _in(self, threads: Executor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(threads, call)
