"""Assembles the application, starts it and drains it."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

from fastapi import Depends, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.middleware.cors import CORSMiddleware

from runtime_ext import Runtime, create_runtime
from trtserve.access.guard import Guard
from trtserve.access.opening import demands_tokens
from trtserve.engines.gpu_metrics import GpuCollector
from trtserve.engines.metrics import Metrics
from trtserve.engines.module_files import ModuleFiles
from trtserve.engines.registry import Registry
from trtserve.engines.seam_options import openvino_options, tensorrt_options
from trtserve.folder.files import open_files
from trtserve.folder.model_folder import ModelFolder
from trtserve.http import error_answers
from trtserve.http.allowed_hosts import AllowedHosts, RefuseForeign, listed_origins
from trtserve.http.authorize import authorizing
from trtserve.http.connection_metrics import ConnectionCollector, RefusalCollector
from trtserve.http.methods import AnswerHead, AnswerOptions
from trtserve.http.observing import Observing
from trtserve.http.routes import ROUTERS, console
from trtserve.http.short_way import ShortWay
from trtserve.http.stopping import AnswerCancelled
from trtserve.inference.calls import Inference
from trtserve.inference.completions import Completions
from trtserve.inference.inflight import InflightBytes
from trtserve.inference.shared_memory import Regions
from trtserve.oip.models import Models
from trtserve.oip.repository import Repository
from trtserve.oip.triton_metrics import TritonGpus, TritonModels
from trtserve.plans.build import Build
from trtserve.plans.trial import ProcessTrial, Trial
from trtserve.recent_log import RecentLog
from trtserve.server.log_metrics import AccessLogCollector
from trtserve.server.native_log import NativeLog
from trtserve.server.process_metrics import LoopLag, ProcessCollector
from trtserve.server.trace_metrics import TraceCollector
from trtserve.server.watchdog import Watchdog
from trtserve.services import Services
from trtserve.settings import Settings
from trtserve.store.store import Store
from trtserve.telemetry.access_log import AccessLog
from trtserve.telemetry.exemplars import Exemplars
from trtserve.telemetry.observer import Observer
from trtserve.telemetry.tracing import Tracing
from trtserve.version import VERSION

logger = logging.getLogger(__name__)

EXPOSED = [
    *("Inference-Header-Content-Length", "Link", "Location", "Preference-Applied", "Retry-After"),
    *("Server-Timing", "Traceresponse", "WWW-Authenticate", "X-Request-Id"),
]
"""Headers of responses that pages of other origins may read."""
CLOSES_WITHIN_S = 5.0  # a runtime whose engines have been unloaded

DESCRIPTION = "Serves TensorRT plans, ONNX models, OpenVINO blobs and TorchScript modules."

TAGS = [
    {"name": "engines", "description": "Upload plans, look at their engines, remove them."},
    {"name": "modules", "description": "The same for TorchScript modules, which may call engines."},
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


def create_app(
    settings: Settings,
    runtime: Runtime | None = None,
    trial: Trial | None = None,
    build: Build | None = None,
    *,
    lock: int | None = None,
) -> FastAPI:
    """Create the application. Raises InvalidInput for a token file that cannot be used, and for traces that
    cannot be sent.

    Without a `runtime` it creates its own at the start, and a trial if the settings ask for one. Plans are
    built in child processes unless a test gives a `build`. `lock` is the descriptor of the store's lock if it
    was inherited.

    While it runs, services_of() returns what it holds. The lifespan's state has what InferProtocol needs.
    """
    guard = Guard(settings.token_file) if demands_tokens(settings) and settings.token_file else None
    tracing = Tracing.of(settings)
    own_trial = None
    if trial is None and runtime is None and settings.trial_load:
        trial = own_trial = ProcessTrial(tensorrt_options(settings), settings.trial_load_timeout_s)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, ShortWay]]:
        store = await asyncio.to_thread(Store, settings.store, inherited=lock)
        native_log, recent_log = NativeLog(), RecentLog()
        access_log = AccessLog.of(settings)
        threads = [part for part in (tracing, access_log) if part is not None]
        try:
            recent_log.attach()
            native_log.attach()
            for part in threads:
                part.start()
            services = _assembled(
                settings,
                store,
                runtime or _new_runtime(settings),
                trial,
                build,
                guard=guard,
                tracing=tracing,
                access_log=access_log,
                recent_log=recent_log,
            )
            app.state.services = services
            services.completions.attach()
            _add_collectors(services, access_log)
            loop_lag = LoopLag(services.metrics.registry)
            loop_lag.attach(asyncio.get_running_loop())
            watchdog = Watchdog(services.metrics.registry, settings.stall_after_s)
            watchdog.attach(asyncio.get_running_loop())
            watchdog.start()
            try:
                await services.registry.start()
                if services.folder is not None:
                    await services.folder.start()
                short_way = _short_way(services)
                app.state.connections = short_way.connections
                yield {"short_way": short_way}
                short_way.stop()
            finally:
                if services.folder is not None:
                    await services.folder.close()
                await services.registry.close()
                if own_trial is not None:
                    await own_trial.close()
                app.state.left_behind = not await _closed(services.runtime) or _runs_on(services)
                watchdog.detach()
                loop_lag.detach()
                services.completions.detach()
                services.shared_memory.close()
        finally:
            for part in threads:
                await asyncio.to_thread(part.close)
            native_log.detach()
            recent_log.detach()
            await asyncio.to_thread(store.close)

    return _application(settings, guard, lifespan)


def _application(
    settings: Settings,
    guard: Guard | None,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[dict[str, ShortWay]]],
) -> FastAPI:
    """The application with its routes, and with what wraps them."""
    app: FastAPI = FastAPIOffline(
        title="trtserve",
        version=VERSION,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        redoc_url=None,
        lifespan=lifespan,
        responses=error_answers.RESPONSES,
    )
    error_answers.install(app)
    app.add_middleware(AnswerCancelled)
    app.add_middleware(AnswerOptions)
    app.add_middleware(RefuseForeign, hosts=AllowedHosts.of(settings))
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **_cors(settings))
    app.add_middleware(AnswerHead)  # outside of those above, so that no answer to a HEAD has a body
    app.add_middleware(Observing, observer=lambda: _observer_of(app))
    authorize = [Depends(authorizing(guard))] if guard is not None else []
    for router in (*ROUTERS, *([console.router] if settings.console else [])):
        app.include_router(router, dependencies=authorize)
    return app


def _cors(settings: Settings) -> dict[str, Any]:
    """What pages of the listed origins may do: everything that a token allows, and no cookies, of which there
    are none."""
    return {
        "allow_origins": listed_origins(settings.cors_origins),
        "allow_methods": ["DELETE", "GET", "PATCH", "POST", "PUT"],
        "allow_headers": ["*"],
        "expose_headers": EXPOSED,
    }


def _observer_of(app: FastAPI) -> Observer | None:
    services: Services | None = getattr(app.state, "services", None)
    return None if services is None else services.observer


def left_behind(app: FastAPI) -> bool:
    """True if an ended application left something running in the process that may never end."""
    return getattr(app.state, "left_behind", False)


def _runs_on(services: Services) -> bool:
    """True if an execution or a load has not ended."""
    _, instances = services.runtime.left_behind()
    return instances > 0 or services.registry.loads_given_up > 0


def _new_runtime(settings: Settings) -> Runtime:
    return create_runtime(
        stuck_after_s=settings.stuck_after_s,
        tensorrt=tensorrt_options(settings),
        openvino=openvino_options(settings),
    )


async def _closed(runtime: Runtime) -> bool:
    """Close the runtime. Returns False if a load that does not end holds it up."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def close() -> None:
        try:
            runtime.close()
        except Exception:
            logger.exception("the runtime was not closed")
        with suppress(RuntimeError):  # the loop has ended before
            loop.call_soon_threadsafe(ended.set)

    # A thread of its own: the loop waits for its executor's threads.
    threading.Thread(target=close, name="trtserve-close", daemon=True).start()
    try:
        async with asyncio.timeout(CLOSES_WITHIN_S):
            await ended.wait()
    except TimeoutError:
        return False
    return True


def _assembled(
    settings: Settings,
    store: Store,
    runtime: Runtime,
    trial: Trial | None,
    build: Build | None,
    *,
    guard: Guard | None,
    tracing: Tracing | None,
    access_log: AccessLog | None,
    recent_log: RecentLog,
) -> Services:
    completions = Completions(runtime)
    registry = Registry(settings, store, runtime, trial, build=build)
    if guard is not None:
        guard.names_of = registry.names_of
    exemplars = None if tracing is None else Exemplars(lambda: runtime.stats()[0].total.bounds)
    folder = None
    if settings.model_repository is not None:
        files = open_files(settings.model_repository)
        folder = ModelFolder(files, settings, store=store, runtime=runtime, registry=registry)
    shared_memory = Regions(settings)
    inflight = InflightBytes(settings.max_inflight_bytes, settings.max_request_bytes)
    return Services(
        settings=settings,
        store=store,
        runtime=runtime,
        registry=registry,
        module_files=ModuleFiles(runtime),
        models=Models(registry, runtime),
        repository=Repository(settings, store, runtime, registry, folder),
        completions=completions,
        metrics=Metrics(runtime, registry, exemplars),
        inflight=inflight,
        shared_memory=shared_memory,
        inference=Inference(
            settings, runtime, registry, completions, inflight=inflight, shared_memory=shared_memory
        ),
        observer=Observer(settings, tracing=tracing, exemplars=exemplars, log=access_log),
        folder=folder,
        guard=guard,
        recent_log=recent_log,
    )


def _add_collectors(services: Services, access_log: AccessLog | None) -> None:
    metrics, gpus = services.metrics, GpuCollector()
    metrics.add(ProcessCollector(services))
    metrics.add(TraceCollector(services.observer.tracing))
    metrics.add(AccessLogCollector(access_log))
    if services.settings.triton_metrics:
        models = TritonModels(services.registry)
        metrics.add_of_stats(models.families, models.look)
        metrics.add(TritonGpus(gpus))
    else:
        metrics.add(gpus)


def _short_way(services: Services) -> ShortWay:
    errors, guard = services.metrics.errors, services.guard
    short_way = ShortWay(
        services.inference, services.inflight, errors, services.settings, guard, observer=services.observer
    )
    services.metrics.add(ConnectionCollector(short_way.connections))
    services.metrics.add(RefusalCollector(guard))
    return short_way
