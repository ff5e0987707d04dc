"""The HTTP resources, one file each, and the one list of their routers."""

from trtserve.http.routes import (
    engines,
    health,
    infer,
    logs,
    metrics,
    models,
    modules,
    names,
    protocol_settings,
    repository,
    shared_memory,
)

ROUTERS = (
    engines.router,
    modules.router,
    names.router,
    infer.router,
    models.router,
    repository.router,
    shared_memory.router,
    protocol_settings.router,
    health.router,
    metrics.router,
    logs.router,
)
"""In the order in which they are asked, and documented."""
