"""Every route of the application and every method over gRPC has its need in the one table."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from grpc_health.v1 import health_pb2
from starlette.routing import Mount
from tritonclient.grpc import service_pb2

from trtserve.access.scopes import ALL, METHODS, ROUTES, Need
from trtserve.server.app import create_app
from trtserve.settings import Settings

PROTOCOL = Path(__file__).parents[3] / "service" / "rpc" / "open_inference.proto"
ADDED = {"HEAD", "OPTIONS"}  # these answer for what the other methods of a path are


def routes(app: FastAPI) -> list[str]:
    """The methods and paths of all routes; mounts of files have none of their own."""
    found = []
    for route in every(app.routes):
        if isinstance(route, Mount):
            assert type(route.app).__name__ == "StaticFiles", f"what is mounted at {route.path}?"
            continue
        found += [f"{method} {route.path}" for method in sorted(set(route.methods) - ADDED)]
    return found


def every(held: Iterable[Any]) -> Iterable[Any]:
    for route in held:
        inner = getattr(route, "original_router", None)
        yield from every(inner.routes) if inner is not None else [route]


def lacking(app: FastAPI) -> set[str]:
    return set(routes(app)) - ROUTES.keys()


def test_every_route_has_its_need_and_the_table_has_no_others(settings: Settings) -> None:
    found = routes(create_app(settings))
    assert len(found) > 40
    assert set(found) == ROUTES.keys()


def test_a_new_route_is_found(settings: Settings) -> None:
    app = create_app(settings)
    router = APIRouter()

    @router.get("/new/{thing}")
    def new(thing: str) -> None:
        """It has no need."""

    app.include_router(router)
    assert lacking(app) == {"GET /new/{thing}"}


def test_every_method_over_grpc_has_its_need_and_the_table_has_no_others() -> None:
    text = PROTOCOL.read_text()
    (service,) = re.findall(r"service (\w+)", text)
    methods = {f"/inference.{service}/{name}" for name in re.findall(r"rpc (\w+)\s*\(", text)}
    assert len(methods) == 20
    health = health_pb2.DESCRIPTOR.services_by_name["Health"]
    methods |= {f"/{health.full_name}/{method.name}" for method in health.methods}
    for version in ("v1", "v1alpha"):  # of reflection
        methods.add(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
    assert methods == METHODS.keys()


def test_the_field_that_names_the_engine_is_one_of_the_request() -> None:
    for method in service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
        need = METHODS[f"/inference.GRPCInferenceService/{method.name}"]
        if need.about not in {None, ALL}:
            assert need.about in method.input_type.fields_by_name, method.name


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/v2/health/live", "/v2/health/ready"])
def test_probes_need_no_token(path: str) -> None:
    assert ROUTES[f"GET {path}"].open


def test_what_changes_something_is_never_open() -> None:
    opened: dict[str, Need] = {route: need for route, need in ROUTES.items() if need.open}
    assert all(route.startswith("GET ") for route in opened)
