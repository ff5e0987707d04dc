"""HEAD and OPTIONS for every address, without routes of their own (Source: RFC 9110, 9.3.2 and 9.3.7)."""

from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("DELETE", "GET", "PATCH", "POST", "PUT")
EVERY_METHOD = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}  # those of all addresses together


class AnswerHead:
    """Wraps the application, and answers a HEAD like the GET, but without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, bodiless)


class AnswerOptions:
    """Wraps the application, and answers an OPTIONS with the methods of its address, if that exists.

    Nothing in the answer lets pages of other origins use the server.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "OPTIONS":
            everywhere = scope["path"] == "*"  # the server as a whole
            methods = sorted(EVERY_METHOD) if everywhere else allowed(scope["app"].routes, scope)
            if methods:
                await Response(None, 204, {"allow": ", ".join(methods)})(scope, receive, send)
                return
        await self._app(scope, receive, send)


def allowed(routes: list[BaseRoute], scope: Scope) -> list[str]:
    """The methods of an address, from all of its routes; empty if there is nothing at the address."""
    found = {method for method in METHODS if any(_takes(route, scope, method) for route in routes)}
    if "GET" in found:
        found.add("HEAD")
    return sorted(found | {"OPTIONS"}) if found else []


def _takes(route: BaseRoute, scope: Scope, method: str) -> bool:
    if isinstance(route, Mount) and method != "GET":  # files: a mount matches any method
        return False
    # A mount that has handled a request leaves its own path in the scope.
    root_path = scope.get("app_root_path", scope.get("root_path", ""))
    asked: dict[str, Any] = {**scope, "method": method, "root_path": root_path}
    return route.matches(asked)[0] == Match.FULL
