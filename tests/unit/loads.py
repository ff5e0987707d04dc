"""Shared by the tests of loads: fake trials and sleeps, and servers that ended during loads."""

import asyncio
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import FakeRuntime
from tests.fakes.values import EngineInfo
from tests.unit.serving import Server, serving
from tests.waiting import HANGS_AFTER_S
from trtserve.engines.engine import State
from trtserve.settings import Settings
from trtserve.store.database import StoredEngine
from trtserve.store.store import Store

GOOD, BAD, OTHER = tensorrt_plan((10, 0, 0, 1)), tensorrt_plan((10, 0, 0, 2)), tensorrt_plan((10, 0, 0, 3))


class Trial:
    """A fake trial that fails with the entry of `failures` for the engine's ID."""

    def __init__(self) -> None:
        self.tried: list[int] = []
        self.failures: dict[int, Exception] = {}
        self.running = 0
        self.most = 0

    async def __call__(self, plan: Path, engine: StoredEngine) -> None:
        self.tried.append(engine.id)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        if engine.id in self.failures:
            raise self.failures[engine.id]


class Sleep:
    """A fake asyncio.sleep that sleeps until woken."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._wake = asyncio.Event()

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._wake.clear()
        await self._wake.wait()

    async def wake(self) -> None:
        """Wake it once it sleeps."""
        self._wake.set()


class HangingRuntime(FakeRuntime):
    """A runtime on which a plan that contains b"hang" loads only once `gate` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.hanging = 0

    def load(self, id: int, plan: str, backend: str, options: Any) -> EngineInfo:
        if b"hang" in Path(plan).read_bytes():
            self.hanging += 1
            assert self.gate.wait(HANGS_AFTER_S)
        return super().load(id, plan, backend, options)


HANGS = onnx_plan() + b"\x42\x04hang"


unended: list[AbstractContextManager[None]] = []  # referenced, so that they never end


def end_during_loads(settings: Settings, *engines: int, crash: bool = True) -> None:
    """Leave the marks of a server that ended while it loaded these engines."""
    store = Store(settings.store)
    digests = {engine.id: engine.digest for engine in store.engines()}
    for id in engines:
        load = store.marks.during(digests[id])
        load.__enter__()
        unended.append(load)
    if crash:
        (settings.store / "loading" / "crash").write_text("Fatal Python error: Segmentation fault")
    store.close()


async def stored(settings: Settings, *plans: bytes) -> list[int]:
    """Store engines with a first server; return their IDs."""
    async with serving(settings) as server:
        return [(await server.add(plan))[0].engine.id for plan in plans]


def state(server: Server, id: int) -> State:
    return server.registry.resolve(str(id)).engine.state
