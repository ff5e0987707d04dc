"""What each route over HTTP and each method over gRPC needs: the one table.

A test walks all routes and methods, and fails for one that is not here; the guard refuses it to everybody.
"""

from enum import StrEnum
from typing import NamedTuple


class Scope(StrEnum):
    INFER = "infer"
    MANAGE = "manage"
    METRICS = "metrics"


ALL = "*"  # in place of a parameter: about all engines at once


class Need(NamedTuple):
    scopes: frozenset[Scope]  # one of these is enough
    about: str | None = None  # the parameter that names the engine; ALL; None: about no engine
    open: bool = False  # True: nobody needs a token


OPEN = Need(frozenset(), open=True)
"""Probes send no token; the documentation of the API and the console are the same on every server."""
NOBODY = Need(frozenset())

_INFER = frozenset({Scope.INFER})
_MANAGE = frozenset({Scope.MANAGE})
_READ = frozenset({Scope.INFER, Scope.MANAGE})  # what is known of an engine: its clients need that too
_ANY = frozenset(Scope)

ROUTES: dict[str, Need] = {
    "GET /health/live": OPEN,
    "GET /health/ready": OPEN,
    "GET /v2/health/live": OPEN,
    "GET /v2/health/ready": OPEN,
    "GET /docs": OPEN,
    "GET /docs/oauth2-redirect": OPEN,
    "GET /openapi.json": OPEN,
    "GET /": OPEN,
    "GET /assets/{file}": OPEN,
    "GET /version": Need(_ANY),
    "GET /logs": Need(_MANAGE, ALL),
    "GET /metrics": Need(frozenset({Scope.METRICS}), ALL),
    # engines, modules and names
    "POST /engines": Need(_MANAGE, "name"),
    "PUT /engines": Need(_MANAGE, "name"),
    "PUT /engines/{ref}": Need(_MANAGE, "ref"),
    "GET /engines": Need(_READ, ALL),
    "GET /options": Need(_READ),
    "GET /engines/{ref}": Need(_READ, "ref"),
    "PATCH /engines/{ref}": Need(_MANAGE, "ref"),
    "DELETE /engines/{ref}": Need(_MANAGE, "ref"),
    "GET /engines/{ref}/graph": Need(_MANAGE, "ref"),
    "GET /engines/{ref}/layers": Need(_MANAGE, "ref"),
    "GET /engines/{ref}/module": Need(_MANAGE, "ref"),
    "POST /modules": Need(_MANAGE, "name"),
    "GET /modules": Need(_READ, ALL),
    "GET /modules/{ref}": Need(_READ, "ref"),
    "DELETE /modules/{ref}": Need(_MANAGE, "ref"),
    "GET /names": Need(_READ, ALL),
    "GET /names/{name}": Need(_READ, "name"),
    "PUT /names/{name}": Need(_MANAGE, "name"),
    # inference
    "POST /engines/{ref}/infer": Need(_INFER, "ref"),
    "POST /modules/{ref}/infer": Need(_INFER, "ref"),
    "POST /v2/models/{name}/infer": Need(_INFER, "name"),
    "POST /v2/models/{name}/versions/{version}/infer": Need(_INFER, "name"),
    # the rest of the Open Inference Protocol
    "GET /v2": Need(_ANY),
    "GET /v2/models/stats": Need(_ANY, ALL),
    "GET /v2/models/{name}": Need(_READ, "name"),
    "GET /v2/models/{name}/versions/{version}": Need(_READ, "name"),
    "GET /v2/models/{name}/ready": Need(_READ, "name"),
    "GET /v2/models/{name}/versions/{version}/ready": Need(_READ, "name"),
    "GET /v2/models/{name}/config": Need(_READ, "name"),
    "GET /v2/models/{name}/versions/{version}/config": Need(_READ, "name"),
    "GET /v2/models/{name}/stats": Need(_ANY, "name"),
    "GET /v2/models/{name}/versions/{version}/stats": Need(_ANY, "name"),
    "POST /v2/repository/index": Need(_READ, ALL),
    "POST /v2/repository/models/{name}/load": Need(_MANAGE, "name"),
    "POST /v2/repository/models/{name}/unload": Need(_MANAGE, "name"),
    "GET /v2/systemsharedmemory/status": Need(_INFER),
    "GET /v2/systemsharedmemory/region/{name:path}/status": Need(_INFER),
    "POST /v2/systemsharedmemory/region/{name:path}/register": Need(_INFER),
    "POST /v2/systemsharedmemory/unregister": Need(_INFER),
    "POST /v2/systemsharedmemory/region/{name:path}/unregister": Need(_INFER),
    "GET /v2/cudasharedmemory/status": Need(_INFER),
    "GET /v2/cudasharedmemory/region/{name:path}/status": Need(_INFER),
    "POST /v2/cudasharedmemory/region/{name:path}/register": Need(_INFER),
    "POST /v2/cudasharedmemory/unregister": Need(_INFER),
    "POST /v2/cudasharedmemory/region/{name:path}/unregister": Need(_INFER),
    "GET /v2/trace/setting": Need(_READ),
    "POST /v2/trace/setting": Need(_MANAGE, ALL),
    "GET /v2/models/{name}/trace/setting": Need(_READ, "name"),
    "POST /v2/models/{name}/trace/setting": Need(_MANAGE, "name"),
    "GET /v2/logging": Need(_READ),
    "POST /v2/logging": Need(_MANAGE, ALL),
}
"""By method and path; a parameter is one of the path, or else of the query."""

INFERENCE = Need(_INFER, "model_name")
_SERVICE = "/inference.GRPCInferenceService/"

METHODS: dict[str, Need] = {
    "/grpc.health.v1.Health/Check": OPEN,
    "/grpc.health.v1.Health/Watch": OPEN,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": OPEN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": OPEN,
    _SERVICE + "ServerLive": OPEN,
    _SERVICE + "ServerReady": OPEN,
    _SERVICE + "ServerMetadata": Need(_ANY),
    _SERVICE + "ModelInfer": INFERENCE,
    _SERVICE + "ModelStreamInfer": INFERENCE,
    _SERVICE + "ModelReady": Need(_READ, "name"),
    _SERVICE + "ModelMetadata": Need(_READ, "name"),
    _SERVICE + "ModelConfig": Need(_READ, "name"),
    _SERVICE + "ModelStatistics": Need(_ANY, "name"),
    _SERVICE + "RepositoryIndex": Need(_READ, ALL),
    _SERVICE + "RepositoryModelLoad": Need(_MANAGE, "model_name"),
    _SERVICE + "RepositoryModelUnload": Need(_MANAGE, "model_name"),
    _SERVICE + "SystemSharedMemoryStatus": Need(_INFER),
    _SERVICE + "SystemSharedMemoryRegister": Need(_INFER),
    _SERVICE + "SystemSharedMemoryUnregister": Need(_INFER),
    _SERVICE + "CudaSharedMemoryStatus": Need(_INFER),
    _SERVICE + "CudaSharedMemoryRegister": Need(_INFER),
    _SERVICE + "CudaSharedMemoryUnregister": Need(_INFER),
    # These change what they are told, and one method does both.
    _SERVICE + "TraceSetting": Need(_MANAGE, "model_name"),
    _SERVICE + "LogSettings": Need(_MANAGE, ALL),
}
"""By path; a parameter is a field of the request."""
