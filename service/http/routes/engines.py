"""The engines resource: upload a plan, look at engines, remove them."""

import asyncio
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from trtserve.engines import readiness
from trtserve.http import bodies
from trtserve.http.content_coding import check_plain
from trtserve.http.schemas import EngineList, EngineModel
from trtserve.http.upload_query import UploadQuery
from trtserve.plans.checks import choose_format
from trtserve.plans.receive import receive_plan

if TYPE_CHECKING:
    from runtime_ext import Runtime
    from trtserve.engines.engine import Resolved
    from trtserve.engines.registry import Registry
    from trtserve.settings import Settings
    from trtserve.store.store import Store

router = APIRouter(tags=["engines"])

OCTETS = {"type": "string", "format": "binary"}
PLAN_BODY = {
    "required": True,
    "description": "The plan as it is: no form, no wrapping.",
    "content": {"application/octet-stream": {"schema": OCTETS}},
}


@router.post(
    "/engines",
    status_code=201,
    response_description="The engine is new, and READY. Location names it.",
    responses={
        200: {"model": EngineModel, "description": "The engine was there already; it has the name now."}
    },
    openapi_extra={"requestBody": PLAN_BODY},
)
async def upload(request: Request, response: Response, query: Annotated[UploadQuery, Query()]) -> EngineModel:
    """Upload a plan and stand its engine up.

    The answer comes when the engine is READY, or could not be loaded. The same plan again is the same
    engine. Under a name, a new plan becomes the next version, and the current one once it is READY; a
    plan that is a version of the name already becomes the current one again.
    """
    settings: Settings = request.app.state.settings
    store: Store = request.app.state.store
    registry: Registry = request.app.state.registry
    runtime: Runtime = request.app.state.runtime
    check_plain(request.headers)

    declared = bodies.declared(request)
    plan, format = await receive_plan(
        bodies.chunks(request, "plan"),
        open_writer=lambda: store.new_upload(declared),
        inspect=lambda head: choose_format(runtime, head, query.format),
        limit=settings.max_plan_bytes,
        declared=declared,
    )
    resolved, created = await registry.add(
        plan,
        name=query.name,
        format=format,
        options=query.options(),
    )
    response.status_code = 201 if created else 200
    response.headers["Location"] = f"/engines/{resolved.engine.id}"
    return _model(runtime, resolved)


@router.get("/engines")
async def list_engines(request: Request) -> EngineList:
    """Every engine, with its state."""
    registry: Registry = request.app.state.registry
    runtime: Runtime = request.app.state.runtime
    found = [registry.resolve(str(engine.id)) for engine in registry.engines()]
    return EngineList(engines=[_model(runtime, resolved) for resolved in found])


@router.get("/engines/{ref}")
async def get_engine(request: Request, ref: str) -> EngineModel:
    """One engine, by ID or by the name whose current version it is."""
    registry: Registry = request.app.state.registry
    return _model(request.app.state.runtime, registry.resolve(ref))


def _model(runtime: "Runtime", resolved: "Resolved") -> EngineModel:
    return EngineModel.of(resolved, readiness.condition(runtime, resolved.engine))


@router.delete("/engines/{ref}", status_code=204)
async def remove_engine(request: Request, ref: str) -> None:
    """Remove an engine; the answer comes when it is gone.

    By ID: the engine, with every version that points to it. By name: the current version of the name,
    which falls back to its newest remaining one, and the engine if no other version points to it.
    Requests that were accepted are finished first, for as long as the server's drain time.
    """
    registry: Registry = request.app.state.registry
    await registry.remove(ref)


@router.get("/engines/{ref}/graph", response_class=PlainTextResponse)
async def get_graph(request: Request, ref: str) -> str:
    """The graph of the TorchScript wrapper, as text."""
    registry: Registry = request.app.state.registry
    runtime: Runtime = request.app.state.runtime
    return await asyncio.to_thread(runtime.graph, registry.ready(ref).engine.id)


@router.get(
    "/engines/{ref}/layers",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}}},
)
async def get_layers(request: Request, ref: str) -> Response:
    """What the backend's engine inspector tells of the layers, as it tells it.

    How much that is was decided when the plan was built; a backend without an inspector is a 501.
    """
    registry: Registry = request.app.state.registry
    runtime: Runtime = request.app.state.runtime
    layers = await asyncio.to_thread(runtime.layers, registry.ready(ref).engine.id)
    return Response(layers, media_type="application/json")


@router.get(
    "/engines/{ref}/module",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {"schema": OCTETS}}}},
)
async def get_module(request: Request, ref: str) -> Response:
    """The wrapper as a TorchScript file.

    torch.jit.load takes it in a process that has imported runtime_ext and holds the engine of this ID.
    """
    registry: Registry = request.app.state.registry
    runtime: Runtime = request.app.state.runtime
    engine, name, _ = registry.ready(ref)
    module = await asyncio.to_thread(runtime.module_bytes, engine.id)
    return Response(
        module,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f'attachment; filename="{name or engine.id}.pt"'},
    )
