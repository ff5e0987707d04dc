"""The engines resource: upload a plan, look at engines, remove them."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from runtime_ext import Error
from trtserve.engines import readiness
from trtserve.engines.module_files import ModuleFile
from trtserve.errors import InvalidInput, TrtserveError, UnsupportedMedia
from trtserve.failures import tell
from trtserve.http import bodies
from trtserve.http.content_coding import check_plain
from trtserve.http.options_patch import patch_body, read_patch
from trtserve.http.prefer import RESPOND_ASYNC, prefers_async
from trtserve.http.schemas import EngineList, EngineModel
from trtserve.http.upload_query import UploadQuery
from trtserve.options.engine_options import EngineOptions
from trtserve.options.names import Name
from trtserve.plans.choice import Choice, choose
from trtserve.plans.onnx_archives import joined_archive
from trtserve.plans.receive import receive_plan
from trtserve.services import Services, services_for

if TYPE_CHECKING:
    from trtserve.engines.engine import Engine, Resolved

router = APIRouter(tags=["engines"])

LISTED = 100  # engines of a page, unless the client says how many
MOST_LISTED = 1000
LAST_CURSOR = 2**63 - 1
Limit = Annotated[int, Query(ge=1, le=MOST_LISTED, description="The most entries of a page.")]
After = Annotated[
    int, Query(ge=0, le=LAST_CURSOR, description="Where a page begins: only from the `next` of another.")
]
SEND_THE_FILE = "Send the file as it is: curl -T FILE, or curl --data-binary @FILE."
PREFER = "`respond-async`: do not wait until it is done; with `wait=N` beside it, wait N seconds at most."
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
        200: {"model": EngineModel, "description": "The engine was there already; it has the name now."},
        202: {
            "model": EngineModel,
            "description": "Only with `Prefer: respond-async`: the engine is kept, and its plan is being "
            "built. Location names it.",
        },
    },
    openapi_extra={"requestBody": PLAN_BODY},
)
async def upload(
    request: Request,
    response: Response,
    query: Annotated[UploadQuery, Query()],
    prefer: Annotated[
        str | None,
        Header(
            description=PREFER,
            examples=[RESPOND_ASYNC, f"{RESPOND_ASYNC}, wait=10"],
        ),
    ] = None,
) -> EngineModel:
    """Upload a plan and load its engine, or an ONNX model and build a plan from it first.

    The answer comes when the engine is READY, or failed to build or load. Uploading the same plan, or the
    same model with the same options of its build, again finds the same engine. Under a name, a new plan
    becomes the next version, and current once it is READY; a plan that is already a version of the name
    becomes current again.
    """
    resolved = await receive(request, response, query)
    response.headers["Location"] = f"/engines/{resolved.engine.id}"
    return shown(services_for(request), resolved)


@router.patch(
    "/engines/{ref}",
    response_description="The engine, which has these options now.",
    responses={
        202: {
            "model": EngineModel,
            "description": "Only with `Prefer: respond-async`: it is being changed; `change` says how far "
            "that is.",
        }
    },
    openapi_extra={"requestBody": patch_body()},
)
async def change_options(
    request: Request,
    response: Response,
    ref: str,
    in_place: Annotated[
        bool,
        Query(description="Load it only once it is unloaded: needs no memory for two, but refuses requests."),
    ] = False,
    prefer: Annotated[str | None, Header(description=PREFER, examples=[RESPOND_ASYNC])] = None,
) -> EngineModel:
    """Give an engine other options, while it serves.

    It is loaded with them beside the one that serves; once it is READY, requests move over, and the former
    one ends what it has accepted. No request is refused. If it cannot be loaded, the former one serves on,
    and the answer says why. An engine that is DORMANT or UNLOADED has the options from its next load on. A
    name stands for the engine of its current version; other names of that engine see the change too.
    """
    services = services_for(request)
    registry = services.registry
    given = await bodies.json_object(request)
    options = read_patch(given, registry.resolve(ref).engine, services.settings)
    resolved, done = await registry.change(
        ref, options, in_place=in_place, wait_s=prefers_async(request.headers)
    )
    if not done:
        response.status_code = 202
        response.headers["Preference-Applied"] = RESPOND_ASYNC
        response.headers["Location"] = f"/engines/{resolved.engine.id}"
    return shown(services, resolved)


@router.put("/engines", status_code=201, openapi_extra={"requestBody": PLAN_BODY})
async def put(request: Request, response: Response, query: Annotated[UploadQuery, Query()]) -> EngineModel:
    """Upload a plan as POST /engines does: `curl -T` sends a PUT."""
    return await upload(request, response, query)


@router.put(
    "/engines/{ref}",
    status_code=201,
    response_description="The engine is new, and READY. Location names it.",
    responses={200: {"model": EngineModel, "description": "The engine was there already; it has the name."}},
    openapi_extra={"requestBody": PLAN_BODY},
)
async def put_named(
    request: Request, response: Response, ref: Name, query: Annotated[UploadQuery, Query()]
) -> EngineModel:
    """Upload a plan under this name, as POST /engines?name= does."""
    if query.name not in {None, ref}:
        raise InvalidInput(
            f"The path names the engine {ref}, and the query {query.name}: leave the name out of the query."
        )
    return await upload(request, response, query.model_copy(update={"name": ref}))


async def receive(request: Request, response: Response, query: UploadQuery) -> "Resolved":
    """Receive an upload and load its engine; the response's status says whether it is new."""
    services = services_for(request)
    check_plain(request.headers)
    form = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if form == "multipart/form-data":
        raise UnsupportedMedia(f"The upload is a form, as `curl -F` sends it. {SEND_THE_FILE}")
    try:
        return await _receive(request, response, query, services)
    except (TrtserveError, Error) as failure:
        if form != "application/x-www-form-urlencoded" or failure.kind != InvalidInput.kind:
            raise
        raise InvalidInput(
            f"{tell(failure).sentence} `curl -d` takes the line ends out of a file. {SEND_THE_FILE}"
        ) from None


async def _receive(
    request: Request, response: Response, query: UploadQuery, services: Services
) -> "Resolved":
    declared = bodies.declared(request)

    def inspect(head: bytes) -> Awaitable[Choice]:
        return choose(
            services.runtime, services.settings, head, query.format, asked=query, build=query.build()
        )

    plan, choice = await receive_plan(
        bodies.chunks(request, "plan"),
        uploads=services.registry.uploads,
        open_writer=lambda: services.store.new_upload(declared),
        inspect=inspect,
        limit=services.settings.max_plan_bytes,
        declared=declared,
    )
    if choice.archived:
        plan = await joined_archive(
            plan, lambda: services.store.new_upload(None), services.settings.max_plan_bytes
        )
    registry = services.registry
    created: bool | None
    wait_s = prefers_async(request.headers)
    if choice.build is not None and wait_s is not None:
        resolved, created = await registry.accept(
            plan, name=query.name, options=choice.options, build=choice.build, wait_s=wait_s
        )
    else:
        resolved, created = await registry.add(
            plan, name=query.name, format=choice.format, options=choice.options, build=choice.build
        )
    if created is None:
        response.headers["Preference-Applied"] = RESPOND_ASYNC
    response.status_code = {True: 201, False: 200, None: 202}[created]
    return resolved


@router.get("/engines", response_description="A page of the engines. A `Link` header names the next.")
async def list_engines(
    request: Request,
    response: Response,
    limit: Limit = LISTED,
    after: After = 0,
) -> EngineList:
    """The engines with their states, in the order in which they came, in pages.

    Follow `next` until it is missing. An engine that is there all the time is listed once, whatever comes or
    goes meanwhile.
    """
    page, following = list_page(request, response, limit, after)
    return EngineList(engines=page, next=following)


def list_page(
    request: Request, response: Response, limit: int, after: int, *, modules: bool = False
) -> tuple[list[EngineModel], str | None]:
    """A page of the engines, or of the modules alone, and the path of the next, which the response links."""
    services = services_for(request)
    engines, last = services.registry.page(after, limit, modules=modules)
    found = [services.registry.resolve(str(engine.id)) for engine in engines]
    following = None if last is None else f"{request.url.path}?limit={limit}&after={last}"
    if following is not None:
        response.headers["Link"] = f'<{following}>; rel="next"'
    users = services.registry.dependencies.users()
    return [_model(services, resolved, users.get(resolved.engine.id, [])) for resolved in found], following


@router.get("/options")
async def options(request: Request) -> EngineOptions:
    """The options of an engine whose upload asks for none: this server's settings and defaults."""
    return EngineOptions().decided(services_for(request).settings)


@router.get("/engines/{ref}")
async def get_engine(request: Request, ref: str) -> EngineModel:
    """One engine, by ID or by the name whose current version it is."""
    services = services_for(request)
    return shown(services, services.registry.resolve(ref))


def shown(services: Services, resolved: "Resolved") -> EngineModel:
    users = services.registry.dependencies.users_of(resolved.engine.id)
    return _model(services, resolved, users)


def _model(services: Services, resolved: "Resolved", users: Sequence["Engine"]) -> EngineModel:
    runtime, engine = services.runtime, resolved.engine
    condition = readiness.condition(runtime, engine)
    return EngineModel.of(
        resolved,
        condition,
        readiness.memory(runtime, engine),
        runtime.dead_devices(),
        users,
    )


@router.delete("/engines/{ref}", status_code=204)
async def remove_engine(
    request: Request,
    ref: str,
    force: Annotated[bool, Query(description="Also if modules call it: they are unloaded first.")] = False,
) -> None:
    """Remove an engine; the answer comes when it is gone.

    By ID: the engine, with every version that points to it. By name: the current version of the name,
    which falls back to its newest remaining one, and the engine if no other version points to it.
    Accepted requests finish first, within the server's drain time. A build of its plan ends at once. An
    engine that a module calls is removed only with `force`.
    """
    await services_for(request).registry.remove(ref, force=force)


@router.get("/engines/{ref}/graph", response_class=PlainTextResponse)
async def get_graph(request: Request, ref: str) -> str:
    """The graph of the TorchScript wrapper, as text."""
    services = services_for(request)
    resolved = await services.registry.demand.resident(ref)
    return await asyncio.to_thread(services.runtime.graph, resolved.engine.id)


@router.get(
    "/engines/{ref}/layers",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}}},
)
async def get_layers(request: Request, ref: str) -> Response:
    """The report of the backend's engine inspector on the layers, unchanged.

    Its detail was decided when the plan was built; 501 for a backend without an inspector.
    """
    services = services_for(request)
    resolved = await services.registry.demand.resident(ref)
    layers = await asyncio.to_thread(services.runtime.layers, resolved.engine.id)
    return Response(layers, media_type="application/json")


@router.get(
    "/engines/{ref}/module",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {"schema": OCTETS}}}},
)
async def get_module(
    request: Request,
    ref: str,
    plan: Annotated[
        bool,
        Query(description="Put the plan into the file; without it, the module calls the engine by its ID."),
    ] = True,
) -> Response:
    """The wrapper as a TorchScript file.

    torch.jit.load reads it in a process that has imported runtime_ext, and stands the engine up from the plan
    inside. With `plan=false`, the process must hold the engine of this ID. A module has no plan: 501.
    """
    services = services_for(request)
    engine, name, _ = await services.registry.demand.resident(ref)
    headers = {"Content-Disposition": f'attachment; filename="{name or engine.id}.pt"'}
    if plan:
        file = await services.module_files.open(engine, services.store.plan_path(engine.stored))
        return _FileAnswer(file, headers)
    module = await asyncio.to_thread(services.runtime.module_bytes, engine.id)
    return Response(module, media_type="application/octet-stream", headers=headers)


class _FileAnswer(StreamingResponse):
    """Sends a module's file as it is written, and closes it however that ends."""

    def __init__(self, file: ModuleFile, headers: dict[str, str]) -> None:
        super().__init__(file.pieces(), media_type="application/octet-stream", headers=headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()
