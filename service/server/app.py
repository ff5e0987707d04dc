"""The application: assembled here, started and drained here."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.datastructures import State

from runtime_ext import Runtime, create_runtime
from trtserve.engines.metrics import Metrics
from trtserve.engines.registry import Registry
from trtserve.engines.seam_options import openvino_options, tensorrt_options
from trtserve.http import error_answers
from trtserve.http.allowed_hosts import AllowedHosts, RefuseForeign
from trtserve.http.connection_metrics import ConnectionCollector
from trtserve.http.methods import AnswerHead, AnswerOptions
from trtserve.http.routes import (
    engines,
    health,
    infer,
    metrics,
    models,
    names,
    protocol_settings,
    repository,
    shared_memory,
)
from trtserve.http.short_way import ShortWay
from trtserve.http.stopping import AnswerCancelled
from trtserve.inference.calls import Inference
from trtserve.inference.completions import Completions
from trtserve.inference.inflight import InflightBytes
from trtserve.inference.shared_memory import SharedMemory
from trtserve.oip.repository import Repository
from trtserve.plans.trial import ProcessTrial, Trial
from trtserve.server.native_log import NativeLog
from trtserve.settings import Settings
from trtserve.store.store import Store
from trtserve.version import VERSION

logger = logging.getLogger(__name__)

CLOSES_WITHIN_S = 5.0  # a runtime whose engines have been unloaded

DESCRIPTION = "Serves serialized TensorRT engines; on a machine with no GPU, ONNX models with OpenVINO."

TAGS = [
    {"name": "engines", "description": "Upload plans, look at their engines, remove them."},
    {"name": "names", "description": "Which versions a name has, and which of them is current."},
    {"name": "inference", "description": "Run an engine. Tensors as JSON, binary or safetensors."},
    {
        "name": "models",
        "description": "The Open Inference Protocol (KServe v2): the same engines, as its clients see them.",
    },
    {"name": "repository", "description": "Of the same protocol: list, load and unload models."},
    {"name": "shared memory", "description": "Of the same protocol: tensors that stay on this machine."},
    {"name": "server", "description": "Is it alive, is it ready, what is it, how is it doing."},
]


def create_app(settings: Settings, runtime: Runtime | None = None, trial: Trial | None = None) -> FastAPI:
    """The application with these settings.

    Without a `runtime` it makes its own at the start, and a trial unless there is one, as the settings say.

    What it holds while it runs is in `app.state`: settings, store, runtime, registry, repository,
    completions, metrics, inflight, inference, shared_memory. Once it has ended, `left_behind` says whether
    something still runs in the process that may never end. The lifespan's state has what InferProtocol needs.
    """
    own_trial = None
    if trial is None and runtime is None and settings.trial_load:
        trial = own_trial = ProcessTrial(tensorrt_options(settings), settings.trial_load_timeout_s)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, ShortWay]]:
        state = app.state
        state.store = await asyncio.to_thread(Store, settings.store)
        native_log = NativeLog()
        try:
            native_log.attach()
            _assemble(state, runtime or _new_runtime(settings), trial)
            state.completions.attach()
            try:
                await state.registry.start()
                short_way = _short_way(state)
                yield {"short_way": short_way}
                short_way.stop()
            finally:
                await state.registry.close()
                if own_trial is not None:
                    await own_trial.close()
                closed = await _closed(state.runtime)
                state.left_behind = (
                    not closed or state.runtime.left_behind()[1] > 0 or state.registry.loads_given_up > 0
                )
                state.completions.detach()
                state.shared_memory.close()
        finally:
            native_log.detach()
            await asyncio.to_thread(state.store.close)

    app: FastAPI = FastAPIOffline(
        title="trtserve",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        redoc_url=None,
        lifespan=lifespan,
        responses=error_answers.RESPONSES,
    )
    app.state.settings = settings
    error_answers.install(app)
    app.add_middleware(AnswerCancelled)
    app.add_middleware(AnswerOptions)
    app.add_middleware(RefuseForeign, hosts=AllowedHosts.of(settings))
    app.add_middleware(AnswerHead)  # around all others: none of them answers a HEAD with a body
    for routes in (
        engines,
        names,
        infer,
        models,
        repository,
        shared_memory,
        protocol_settings,
        health,
        metrics,
    ):
        app.include_router(routes.router)
    return app


def _new_runtime(settings: Settings) -> Runtime:
    return create_runtime(
        stuck_after_s=settings.stuck_after_s,
        tensorrt=tensorrt_options(settings),
        openvino=openvino_options(settings),
    )


async def _closed(runtime: Runtime) -> bool:
    """Close the runtime; False where it does not come to that: a load that does not end holds it up."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def close() -> None:
        try:
            runtime.close()
        except Exception:
            logger.exception("the runtime was not closed")
        with suppress(RuntimeError):  # the loop has ended before
            loop.call_soon_threadsafe(ended.set)

    # A thread that nobody waits for, as one of the loop's own would be.
    threading.Thread(target=close, name="trtserve-close", daemon=True).start()
    try:
        async with asyncio.timeout(CLOSES_WITHIN_S):
            await ended.wait()
    except TimeoutError:
        return False
    return True


def _assemble(state: State, runtime: Runtime, trial: Trial | None) -> None:
    """Make what stands on settings and store, which the state has."""
    settings: Settings = state.settings
    state.runtime = runtime
    state.completions = Completions(runtime)
    state.registry = Registry(settings, state.store, runtime, trial)
    state.repository = Repository(settings, state.store, runtime, state.registry)
    state.metrics = Metrics(runtime, state.registry)
    state.shared_memory = SharedMemory(settings)
    state.inflight = InflightBytes(settings.max_inflight_bytes, settings.max_request_bytes)
    state.inference = Inference(
        settings,
        runtime,
        state.registry,
        state.completions,
        inflight=state.inflight,
        shared_memory=state.shared_memory,
    )


def _short_way(state: State) -> ShortWay:
    short_way = ShortWay(state.inference, state.inflight, state.metrics.errors, state.settings)
    state.metrics.add(ConnectionCollector(short_way.connections))
    return short_way
