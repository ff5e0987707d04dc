"""The modules resource: TorchScript modules, which may call engines. Each is an engine, with all that has."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from trtserve.engines.engine import Resolved
from trtserve.errors import NotFound
from trtserve.http.routes.engines import LISTED, OCTETS, After, Limit, list_page, receive, shown
from trtserve.http.schemas import EngineModel, ModuleList
from trtserve.http.upload_query import ModuleQuery
from trtserve.services import services_for

router = APIRouter(tags=["modules"])

MODULE_BODY = {
    "required": True,
    "description": "The archive that torch.jit.save() writes: no form, no wrapping.",
    "content": {"application/octet-stream": {"schema": OCTETS}},
}


@router.post(
    "/modules",
    status_code=201,
    response_description="The module is new, and READY. Location names it.",
    responses={200: {"model": EngineModel, "description": "It was there already; it has the name now."}},
    openapi_extra={"requestBody": MODULE_BODY},
)
async def upload_module(
    request: Request, response: Response, query: Annotated[ModuleQuery, Query()]
) -> EngineModel:
    """Upload a TorchScript module and load it, with the engines that it calls.

    Its graph calls engines by ID or by name; a name stands for what it stands for now, also later. 409 if one
    is missing.
    """
    resolved = await receive(request, response, query.upload())
    response.headers["Location"] = f"/modules/{resolved.engine.id}"
    return shown(services_for(request), resolved)


@router.get("/modules", response_description="A page of the modules. A `Link` header names the next.")
async def list_modules(
    request: Request, response: Response, limit: Limit = LISTED, after: After = 0
) -> ModuleList:
    """The modules with their states, in the order in which they came, in pages."""
    page, following = list_page(request, response, limit, after, modules=True)
    return ModuleList(modules=page, next=following)


@router.get("/modules/{ref}")
async def get_module(request: Request, ref: str) -> EngineModel:
    """One module, by ID or by the name whose current version it is."""
    return shown(services_for(request), _resolved(request, ref))


@router.delete("/modules/{ref}", status_code=204)
async def remove_module(request: Request, ref: str) -> None:
    """Remove a module, as DELETE /engines/{ref} does; the engines that it calls stay."""
    _resolved(request, ref)
    await services_for(request).registry.remove(ref)


def _resolved(request: Request, ref: str) -> Resolved:
    resolved = services_for(request).registry.resolve(ref)
    if not resolved.engine.is_module:
        raise NotFound(f"Engine {resolved.engine} is not a module: it is at /engines/{ref}.")
    return resolved
