"""The repository: which models there are, and loading and unloading them."""

from collections.abc import Mapping
from typing import Any

from starlette.datastructures import State

from service.models import repository

Answer = dict[str, Any]


async def index(state: State, request: Any) -> Answer:
    return {"models": repository.index(state.registry, request.ready)}


async def load(state: State, request: Any) -> Answer:
    """The content of a file comes as bytes, where JSON has base64."""
    await state.repository.load(request.model_name, _parameters(request.parameters))
    return {}


async def unload(state: State, request: Any) -> Answer:
    await state.repository.unload(request.model_name, _parameters(request.parameters))
    return {}


def _parameters(given: Mapping[str, Any]) -> dict[str, object]:
    chosen = {name: parameter.WhichOneof("parameter_choice") for name, parameter in given.items()}
    return {name: getattr(given[name], choice) for name, choice in chosen.items() if choice}
