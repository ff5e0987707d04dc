"""The names resource: which versions a name has, and which of them is current."""

from fastapi import APIRouter, Request

from trtserve.codec.whole import whole
from trtserve.engines.registry import Registry
from trtserve.errors import InvalidInput
from trtserve.http.bodies import json_object
from trtserve.http.schemas import NameList, NameModel, PointModel
from trtserve.services import services_for
from trtserve.text import shown

router = APIRouter(tags=["names"])

LARGEST_VERSION = 2**63 - 1
POINT_BODY = {
    "required": True,
    "content": {"application/json": {"schema": PointModel.model_json_schema(), "example": {"current": 1}}},
}


@router.get("/names")
async def list_names(request: Request) -> NameList:
    """Every name, with its versions."""
    registry = services_for(request).registry
    return NameList(names=[_shown(registry, name) for name in registry.names()])


@router.get("/names/{name}")
async def get_name(request: Request, name: str) -> NameModel:
    """The versions of a name, and which of them is current."""
    return _shown(services_for(request).registry, name)


@router.put("/names/{name}", openapi_extra={"requestBody": POINT_BODY})
async def point_name(request: Request, name: str) -> NameModel:
    """Make another version of the name current; the answer comes when it is.

    A version that is not READY is loaded first, and the name does not move if that fails. Requests that the
    former version accepted finish there.
    """
    registry = services_for(request).registry
    asked = await json_object(request)
    version = whole(asked.get("current"))
    if asked.keys() != {"current"} or version is None or not 1 <= version <= LARGEST_VERSION:
        raise InvalidInput(
            f'The request\'s body is {shown(asked)}; it is {{"current": VERSION}}, '
            "with the number of a version."
        )
    await registry.point(name, version)
    return _shown(registry, name)


def _shown(registry: Registry, name: str) -> NameModel:
    known = registry.name(name)
    return NameModel.of(
        name, known.current, [registry.resolve(name, str(version)) for version in known.versions]
    )
