"""Settings of a running server: tracing, and the log."""

from typing import Any

from starlette.datastructures import State

from trtserve.errors import NotFound, unknown_model
from trtserve.oip import log_settings, trace_settings

Answer = dict[str, Any]


async def trace(state: State, request: Any) -> Answer:
    """The settings, after those that are asked for were taken; one with no value is cleared."""
    if request.model_name:
        try:
            state.registry.resolve(request.model_name)
        except NotFound as missing:
            raise unknown_model(missing) from None
    asked = {name: list(setting.value) for name, setting in request.settings.items()}
    settings = trace_settings.update(asked) if asked else trace_settings.trace_settings()
    values = {name: value if isinstance(value, list) else [value] for name, value in settings.items()}
    return {"settings": {name: {"value": value} for name, value in values.items()}}


async def log(state: State, request: Any) -> Answer:
    """The settings, after those that are asked for were taken."""
    asked = {}
    for name, setting in request.settings.items():
        choice = setting.WhichOneof("parameter_choice")
        asked[name] = getattr(setting, choice) if choice else None
    settings = log_settings.update(asked) if asked else log_settings.log_settings()
    return {"settings": {name: _setting(value) for name, value in settings.items()}}


def _setting(value: object) -> dict[str, object]:
    if isinstance(value, bool):
        return {"bool_param": value}
    return {"uint32_param" if isinstance(value, int) else "string_param": value}
