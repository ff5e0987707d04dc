"""Requests of the repository extension over HTTP, for its tests."""

import base64
from typing import Any

import httpx

from trtserve.settings import Settings


def files(settings: Settings) -> list[str]:
    return [file.name for folder in ("incoming", "plans") for file in (settings.store / folder).iterdir()]


def encoded(plan: bytes) -> str:
    return base64.b64encode(plan).decode()


async def load(client: httpx.AsyncClient, name: str, **parameters: Any) -> httpx.Response:
    return await client.post(f"/v2/repository/models/{name}/load", json={"parameters": parameters})


async def load_files(client: httpx.AsyncClient, name: str, **plans: bytes) -> httpx.Response:
    """Load files; `v1=` is the plan of version 1."""
    return await load(client, name, **{f"file:{v[1:]}/model.onnx": encoded(p) for v, p in plans.items()})


async def index(client: httpx.AsyncClient, **body: Any) -> list[tuple[str, ...]]:
    response = await client.post("/v2/repository/index", json=body)
    assert response.status_code == 200, response.text
    return [(entry["name"], entry["version"], entry["state"], entry["reason"]) for entry in response.json()]


async def current(client: httpx.AsyncClient, name: str) -> tuple[int, list[int]]:
    shown = (await client.get(f"/names/{name}")).json()
    return shown["current"], [version["version"] for version in shown["versions"]]
