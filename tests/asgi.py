"""Calls to the application without a server."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import httpx
from fastapi import FastAPI

from trtserve.inference.calls import Inference
from trtserve.services import services_of

Message = dict[str, Any]


def client_of(app: FastAPI) -> httpx.AsyncClient:
    """A client of a started application; an unexpected exception becomes an answer, as on a server."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://trtserve")


def inference_of(app: FastAPI, **others: Any) -> Inference:
    """An Inference built from a started application; a test may replace its settings or shared memory."""
    held = services_of(app)
    return Inference(
        others.get("settings", held.settings),
        held.runtime,
        held.registry,
        held.completions,
        inflight=held.inflight,
        shared_memory=others.get("shared_memory", held.shared_memory),
    )


def exchange(app: FastAPI, **services: Any) -> None:
    """Give a started application others of its services."""
    app.state.services = replace(services_of(app), **services)


def refused(response: httpx.Response, status: int, code: str) -> str:
    """Check an error answer; return its sentence."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error", "code"}
    assert response.json()["code"] == code
    return str(response.json()["error"])


async def post(
    app: FastAPI,
    path: str,
    receive: Callable[[], Awaitable[Message]],
    headers: Mapping[str, str] | None = None,
    query: str = "",
) -> httpx.Response:
    """POST a request; `receive` supplies the messages of its body and its connection."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
        "server": ("trtserve", 80),
        "client": ("client", 1),
    }
    sent: list[Message] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=body)
