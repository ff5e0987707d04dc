"""The body of PATCH /engines/{ref}: a merge patch (RFC 7396) of an engine's options."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from trtserve.engines.engine import Engine
from trtserve.errors import InvalidInput
from trtserve.options.build_options import BuildRequest
from trtserve.options.engine_options import EngineOptions, UploadOptions
from trtserve.settings import Settings
from trtserve.text import shown

OF_A_BUILD = BuildRequest.model_fields.keys()


def read_patch(given: Mapping[str, Any], engine: Engine, settings: Settings) -> EngineOptions:
    """The options that are asked for; null asks for what an upload that leaves the option out gets.

    Raises InvalidInput for an unknown option, or a value that it does not take.
    """
    for name in given:
        if name in OF_A_BUILD or (name == "precision" and engine.stored.build is not None):
            raise InvalidInput(
                f"{name} is an option of the build of a plan, which a change of options does not repeat: "
                "upload the model with it, which is another engine."
            )
        if name not in UploadOptions.model_fields:
            raise InvalidInput(
                f"There is no option {shown(name)}; there are: {', '.join(UploadOptions.model_fields)}."
            )
    left = EngineOptions().decided(settings)
    values = {name: getattr(left, name) if value is None else value for name, value in given.items()}
    try:
        return UploadOptions(**values).options()
    except ValidationError as failure:
        fault = failure.errors()[0]
        raise InvalidInput(
            f"The option {fault['loc'][0]!r} is {shown(fault.get('input'))}: {fault['msg']}."
        ) from None


def patch_body() -> dict[str, Any]:
    """The body as the OpenAPI document has it."""
    fields = UploadOptions.model_json_schema()["properties"]
    options = {
        name: {
            "anyOf": [
                {key: value for key, value in field.items() if key not in {"default", "title"}},
                {"type": "null"},
            ]
        }
        for name, field in fields.items()
    }
    schema = {"type": "object", "properties": options, "additionalProperties": False}
    example = {"max_batch_size": 8, "instances": None}
    content = {"schema": schema, "example": example}
    return {
        "required": True,
        "description": "The options to change; null stands for the server's setting or default.",
        "content": {"application/merge-patch+json": content, "application/json": content},
    }
