"""Shared by the tests of builds: a fake build, and servers that can build."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tests.fakes.plans import onnx_plan, tensorrt_plan
from tests.fakes.runtime import FakeRuntime
from tests.unit.loads import Trial
from tests.unit.serving import Server
from trtserve.engines.engine import Resolved
from trtserve.options.build_options import BuildOptions
from trtserve.options.engine_options import EngineOptions
from trtserve.plans.build import Job, Step
from trtserve.settings import Settings

TARGET = "TensorRT 11.1.0"
MODEL, OTHER = onnx_plan(1), onnx_plan(2)


class FakeBuild:
    """A fake build that waits at a gate, and fails with `failure`. No two of its plans are the same."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []  # builds that have begun
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.step: Step | None = Step(0.25, "tuning", "Tactic 7 of 9")
        self.running = 0
        self.most = 0

    async def __call__(self, job: Job, tell: Callable[[Step], None]) -> str:
        self.jobs.append(job)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.step is not None:
                tell(self.step)
            job.plan.write_bytes(b"half")
            await self.gate.wait()
        except BaseException:
            job.plan.unlink()
            raise
        finally:
            self.running -= 1
        if self.failure is not None:
            job.plan.unlink()
            raise self.failure
        job.plan.write_bytes(tensorrt_plan((11, 1, 0, 0)) + os.urandom(8))
        return TARGET


def held() -> FakeBuild:
    """A build that waits until its gate is opened."""
    build = FakeBuild()
    build.gate.clear()
    return build


def only_id(server: "BuildingServer") -> int:
    (engine,) = server.registry.engines()
    return engine.id


def building_runtime(version: str = "11.1.0") -> FakeRuntime:
    """A runtime with one generation of TensorRT, which builds."""
    runtime = FakeRuntime(("openvino", "tensorrt11"))
    runtime.builders = {"tensorrt11"}
    runtime.versions["tensorrt11"] = version
    return runtime


class BuildingServer(Server):
    """A registry with its store and a fake build."""

    def __init__(
        self, settings: Settings, runtime: FakeRuntime, build: FakeBuild, trial: Trial | None
    ) -> None:
        super().__init__(settings, runtime, trial, build=build)
        self.build = build

    async def add_model(
        self, model: bytes, name: str | None = None, **options: object
    ) -> tuple[Resolved, bool]:
        return await self.registry.add(
            self.stage(model), **self.asked(model, name), build=BuildOptions.model_validate(options)
        )

    async def accept_model(
        self, model: bytes, name: str | None = None, **options: object
    ) -> tuple[Resolved, bool | None]:
        return await self.registry.accept(
            self.stage(model),
            name=name,
            options=EngineOptions(),
            build=BuildOptions.model_validate(options),
        )

    def all_files(self) -> list[str]:
        folders = ("incoming", "plans", "pending", "built")
        return sorted(
            f"{folder}/{path.name}" for folder in folders for path in (self.settings.store / folder).iterdir()
        )


@asynccontextmanager
async def serving_builds(
    settings: Settings,
    runtime: FakeRuntime | None = None,
    build: FakeBuild | None = None,
    trial: Trial | None = None,
) -> AsyncIterator[BuildingServer]:
    server = BuildingServer(settings, runtime or building_runtime(), build or FakeBuild(), trial)
    await server.registry.start()
    try:
        yield server
    finally:
        await server.registry.close()
        server.store.close()
