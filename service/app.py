"""The application: assembled here, started and drained here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from runtime_ext import Runtime, create_runtime
from service import problems
from service.completions import Completions
from service.metrics import Metrics
from service.registry import Registry
from service.routes import engines, health, infer, metrics
from service.settings import Settings
from service.store import Store
from service.version import VERSION

DESCRIPTION = "Serves serialized TensorRT engines; on a machine with no GPU, ONNX models with OpenVINO."

TAGS = [
    {"name": "engines", "description": "Upload plans, look at their engines, remove them."},
    {"name": "inference", "description": "Run an engine. Tensors as JSON, binary or safetensors."},
    {"name": "server", "description": "Is it alive, is it ready, what is it, how is it doing."},
]


def create_app(settings: Settings, runtime: Runtime | None = None) -> FastAPI:
    """The application with these settings; `runtime` is for tests, else it makes its own at the start.

    What it holds while it runs is in `app.state`: settings, store, runtime, registry, completions, metrics.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = app.state
        state.store = await asyncio.to_thread(Store, settings.store)
        try:
            state.runtime = runtime or create_runtime()
            state.completions = Completions(state.runtime)
            state.registry = Registry(settings, state.store, state.runtime)
            state.metrics = Metrics(state.runtime, state.registry)
            state.completions.attach()
            await state.registry.start()
            try:
                yield
            finally:
                await state.registry.close()
                await asyncio.to_thread(state.runtime.close)
                state.completions.detach()
        finally:
            await asyncio.to_thread(state.store.close)

    app: FastAPI = FastAPIOffline(
        title="trtserve",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        redoc_url=None,
        lifespan=lifespan,
        responses=problems.RESPONSES,
    )
    app.state.settings = settings
    problems.install(app)
    for routes in (engines, infer, health, metrics):
        app.include_router(routes.router)
    return app
