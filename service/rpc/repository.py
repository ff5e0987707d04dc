"""The repository: which models there are, and loading and unloading them."""

from typing import Any

from starlette.datastructures import State

from trtserve.oip import repository
from trtserve.rpc.parameters import plain

Answer = dict[str, Any]


async def index(state: State, request: Any) -> Answer:
    return {"models": repository.index(state.registry, request.ready)}


async def load(state: State, request: Any) -> Answer:
    """The content of a file comes as bytes, where JSON has base64."""
    await state.repository.load(request.model_name, plain(request.parameters))
    return {}


async def unload(state: State, request: Any) -> Answer:
    await state.repository.unload(request.model_name, plain(request.parameters))
    return {}
