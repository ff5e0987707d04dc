"""Asks the guard about calls: at their beginning for the scope, and with each message for the engine."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import grpc

from trtserve.access.guard import Guard
from trtserve.access.scopes import METHODS, NOBODY
from trtserve.failures import Told
from trtserve.rpc import status
from trtserve.telemetry.asked import TRACED, Asked

HEADER = "authorization"
SEVERAL = b""  # stands for several headers, and is no token

Metadata = Iterable[tuple[str, str | bytes]]


class HasMetadata(Protocol):
    def invocation_metadata(self) -> Any:
        """The headers of the call, which are Metadata, or None."""


def authorization_of(metadata: Metadata | None) -> bytes | None:
    given = [value for name, value in metadata or () if name == HEADER]
    if not given:
        return None
    if len(given) > 1:
        return SEVERAL
    return given[0].encode("latin-1", "replace") if isinstance(given[0], str) else given[0]


def metadata_of(authorization: bytes | None, asked: Asked | None = None) -> Metadata:
    """The headers that are looked at, of a call whose other headers are not kept."""
    named = zip(TRACED, asked or (), strict=False)
    kept = [(HEADER, authorization), *named]
    return tuple((name, value) for name, value in kept if value is not None)


def check_call(guard: Guard, path: str, authorization: bytes | None) -> None:
    """Raise Unauthenticated or Forbidden unless the call of this method may begin."""
    guard.check(authorization, METHODS.get(path, NOBODY))


def check_request(guard: Guard | None, path: str, context: HasMetadata, request: Any) -> None:
    """Raise Unauthenticated or Forbidden unless the token allows this message, which may name an engine."""
    if guard is None:
        return
    need = METHODS.get(path, NOBODY)
    named = getattr(request, need.about, None) if need.about else None
    guard.check(authorization_of(context.invocation_metadata()), need, named)


class Authorizing(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # only its stubs are generic
    """Refuses the calls of a grpc.aio server that may not begin, before it reads a message of them.

    The server has it before it knows the guard, which it gets with begin() before the first call.
    """

    def begin(self, guard: Guard, count: status.Count) -> None:
        self._guard = guard
        self._count = count

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        details = handler_call_details
        try:
            check_call(self._guard, details.method, authorization_of(details.invocation_metadata))
        except Exception as failure:
            return grpc.stream_stream_rpc_method_handler(
                _refusing(status.tell(failure, self._count))
            )  # of any method
        return await continuation(details)


def _refusing(told: Told) -> Callable[[Any, Any], Awaitable[None]]:
    async def refuse(requests: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        await context.abort(*status.status(told))

    return refuse
