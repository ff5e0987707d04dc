"""Asks the guard about requests on the long way, once their route is known and before their body is read."""

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from trtserve.access.guard import Guard
from trtserve.access.scopes import ALL, NOBODY, ROUTES

SEVERAL = b""  # stands for several headers, and is no token
BEARER = HTTPBearer(auto_error=False, description="A token that `trtserve tokens add` has made.")


def authorizing(guard: Guard) -> Callable[..., Awaitable[None]]:
    """A dependency of all routes that refuses what the request's token does not allow."""

    async def authorize(
        request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
    ) -> None:
        need = ROUTES.get(f"{request.method} {request.scope['route'].path}", NOBODY)
        engine = None
        if need.about is not None and need.about != ALL:
            named = request.path_params.get(need.about)
            engine = request.query_params.get(need.about, "") if named is None else named
        guard.check(authorization_of(request), need, engine)

    return authorize


def authorization_of(request: Request) -> bytes | None:
    given = request.headers.getlist("authorization")
    if not given:
        return None
    return given[0].encode("latin-1") if len(given) == 1 else SEVERAL
