"""A registry with its store, without HTTP, for tests of the life of engines."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.fakes.runtime import FakeRuntime
from tests.waiting import until
from trtserve.engines.engine import Resolved
from trtserve.engines.registry import Registry
from trtserve.engines.retries import Sleep
from trtserve.formats.format import Format
from trtserve.options.engine_options import EngineOptions
from trtserve.plans.trial import Trial
from trtserve.settings import Settings
from trtserve.store.staging import StagedPlan
from trtserve.store.store import Store


class Server:
    """A registry with its store, without HTTP."""

    def __init__(
        self,
        settings: Settings,
        runtime: FakeRuntime,
        trial: Trial | None = None,
        sleep: Sleep = asyncio.sleep,
        **parts: Any,
    ) -> None:
        self.settings = settings
        self.runtime = runtime
        self.store = Store(settings.store)
        self.registry = Registry(settings, self.store, runtime, trial, sleep, **parts)

    def stage(self, plan: bytes) -> StagedPlan:
        writer = self.store.new_upload()
        writer.write([plan])
        return writer.finish()

    async def add(self, plan: bytes, name: str | None = None, **options: Any) -> tuple[Resolved, bool]:
        return await self.registry.add(self.stage(plan), **self.asked(plan, name, **options))

    def asked(self, plan: bytes, name: str | None = None, **options: Any) -> dict[str, Any]:
        """The arguments of `Registry.add` for a plan."""
        format = Format.TENSORRT if b"ftrt" in plan else Format.ONNX
        if plan.startswith(b"PK"):
            format = Format.TORCHSCRIPT
        return {"name": name, "format": format, "options": EngineOptions(**options)}

    def files(self) -> list[Path]:
        return [file for folder in ("incoming", "plans") for file in (self.settings.store / folder).iterdir()]


@asynccontextmanager
async def serving(
    settings: Settings,
    runtime: FakeRuntime | None = None,
    trial: Trial | None = None,
    sleep: Sleep = asyncio.sleep,
    **parts: Any,
) -> AsyncIterator[Server]:
    server = Server(settings, runtime or FakeRuntime(), trial, sleep, **parts)
    await server.registry.start()
    try:
        yield server
    finally:
        server.runtime.load_gate.set()
        server.runtime.unload_gate.set()
        await server.registry.close()
        server.store.close()


async def loaded(server: Server) -> None:
    """Wait until no stored engine is loading."""
    await until(lambda: not server.registry.loading)


async def until_loading(server: Server, loads: int = 1) -> None:
    """Wait until the runtime has begun `loads` loads."""
    await until(lambda: len(server.runtime.loads) >= loads)
