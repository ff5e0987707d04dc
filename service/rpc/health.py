"""The health service of gRPC (grpc.health.v1), which reports the server's readiness."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from trtserve.engines import readiness
from trtserve.errors import Unavailable
from trtserve.services import Services

LOOK_S = 1.0  # how often Watch looks for a change

Answer = health_pb2.HealthCheckResponse


class Health:
    """The health of the whole server and of `service`, which are the same. Belongs to the event loop."""

    def __init__(self, services: Services, service: str) -> None:
        self._of = services
        self._services = {health.OVERALL_HEALTH, service}
        self._stopping = asyncio.Event()

    async def Check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        status = self._status(request.service)
        if status == Answer.SERVICE_UNKNOWN:
            known = ", ".join(map(repr, sorted(self._services)))
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"There is no service {request.service!r}; there are: {known}."
            )
        return Answer(status=status)

    async def Watch(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        """Yield every change of the status, until the server stops."""
        told = None
        while True:
            stopping = self._stopping.is_set()
            status = self._status(request.service)
            if status != told:
                told = status
                yield Answer(status=status)
            if stopping:
                return
            try:
                await asyncio.wait_for(self._stopping.wait(), LOOK_S)
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Report NOT_SERVING from now on, and end the Watch calls."""
        self._stopping.set()

    def _status(self, service: str) -> Any:
        if service not in self._services:
            return Answer.SERVICE_UNKNOWN
        if self._stopping.is_set():
            return Answer.NOT_SERVING
        try:
            readiness.check_server(self._of.runtime, self._of.registry)
        except Unavailable:
            return Answer.NOT_SERVING
        return Answer.SERVING
