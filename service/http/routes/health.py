"""What an orchestrator or a person asks first: is it alive, is it ready, what is it."""

import asyncio
import importlib.metadata
import platform
from dataclasses import asdict

from fastapi import APIRouter, Request

from runtime_ext import Error, Runtime
from trtserve.engines import readiness
from trtserve.services import services_for
from trtserve.version import VERSION

router = APIRouter(tags=["server"])


@router.get("/health/live")
async def live() -> dict[str, str]:
    """200 while the process answers."""
    return {"status": "live"}


@router.get("/health/ready")
async def ready(request: Request) -> dict[str, str | list[str]]:
    """200 once every stored engine has been loaded or has failed; 503 before, and once an engine has no
    device that is alive. While engines answer from other devices than a dead one, `degraded` tells of it.

    Also 503 while all instances of an engine are stuck in executions that do not end; if only some are, the
    answer has a sentence for each such engine in `stuck`.
    """
    services = services_for(request)
    troubles = readiness.check_server(services.runtime, services.registry)
    return {"status": "ready"} | {kind: told for kind, told in asdict(troubles).items() if told}


@router.get("/version")
async def version(request: Request) -> dict[str, str | dict[str, str]]:
    """The versions of trtserve and of what it runs on; for a backend that cannot be opened, the reason."""
    runtime = services_for(request).runtime
    names = runtime.backends()
    backends = await asyncio.gather(*(asyncio.to_thread(_backend_version, runtime, name) for name in names))
    return {
        "trtserve": VERSION,
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "backends": dict(zip(names, backends, strict=True)),
    }


def _backend_version(runtime: Runtime, name: str) -> str:
    try:
        return runtime.backend_version(name)
    except Error as error:
        return str(error)
