"""What a running server hands to HTTP and gRPC."""

from dataclasses import dataclass

from fastapi import FastAPI, Request

from runtime_ext import Runtime
from trtserve.access.guard import Guard
from trtserve.engines.metrics import Metrics
from trtserve.engines.module_files import ModuleFiles
from trtserve.engines.registry import Registry
from trtserve.folder.model_folder import ModelFolder
from trtserve.inference.calls import Inference
from trtserve.inference.completions import Completions
from trtserve.inference.inflight import InflightBytes
from trtserve.inference.shared_memory import Regions
from trtserve.oip.models import Models
from trtserve.oip.repository import Repository
from trtserve.recent_log import RecentLog
from trtserve.settings import Settings
from trtserve.store.store import Store
from trtserve.telemetry.observer import Observer


@dataclass(frozen=True, slots=True)
class Services:
    """Assembled when the application starts. Belongs to its event loop."""

    settings: Settings
    store: Store
    runtime: Runtime
    registry: Registry
    module_files: ModuleFiles
    models: Models
    repository: Repository
    completions: Completions
    metrics: Metrics
    inflight: InflightBytes
    shared_memory: Regions
    inference: Inference
    observer: Observer
    recent_log: RecentLog
    folder: ModelFolder | None = None  # None: no folder of models is served
    guard: Guard | None = None  # None: nobody needs a token


def services_of(app: FastAPI) -> Services:
    """The services of an application that has started."""
    services: Services = app.state.services
    return services


def services_for(request: Request) -> Services:
    """The services of the application that received a request."""
    return services_of(request.app)
