"""The queries of POST /engines and POST /modules: what an upload may ask for."""

from functools import partial
from typing import Annotated

from pydantic import BaseModel, Field
from pydantic_core import PydanticUndefined

from trtserve.formats.format import AskedFormat, Format
from trtserve.options.build_options import BuildRequest
from trtserve.options.engine_options import EngineOptions, UploadOptions
from trtserve.options.names import Name


class Named(BaseModel):
    """What the query says of the engine's name."""

    name: Annotated[
        Name | None,
        Field(
            description="What to call the engine: a letter or `_`, then up to 127 letters, digits, `_`, `.`, "
            "`-`. A new plan becomes the next version of the name. Without it the engine has its ID only.",
            examples=["lenet"],
        ),
    ] = None


class Plan(Named):
    """What the query says of the plan itself."""

    format: Annotated[
        AskedFormat,
        Field(description="Format of the plan; `auto` tells it from the first bytes."),
    ] = "auto"


class UploadQuery(UploadOptions, BuildRequest, Plan):
    """The query of POST /engines; the server's settings decide what is left out."""

    def build(self) -> BuildRequest:
        """What was asked of a build."""
        given = self.model_fields_set & BuildRequest.model_fields.keys()
        return BuildRequest(**self.model_dump(include=given))


class ModuleQuery(UploadOptions, Named):
    """The query of POST /modules: that of POST /engines, without what only plans have."""

    def upload(self) -> UploadQuery:
        """Convert it to the query of POST /engines."""
        given = self.model_dump(include=self.model_fields_set)
        return UploadQuery(format=Format.TORCHSCRIPT, **given)


for query in (UploadQuery, ModuleQuery):
    for option in UploadOptions.model_fields:
        # A setting decides what is left out, so the OpenAPI document must not promise a default, nor make
        # clients send it. It shows no default that a function makes.
        field = query.model_fields[option]
        field.default_factory = partial(getattr, EngineOptions(), option)
        field.default = PydanticUndefined
