"""What an upload may ask for, as the query of POST /engines."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from trtserve.options.engine_options import UploadOptions
from trtserve.options.names import Name


class Plan(BaseModel):
    """What the query says of the plan itself."""

    name: Annotated[
        Name | None,
        Field(
            description="What to call the engine: a letter or `_`, then up to 127 letters, digits, `_`, `.`, "
            "`-`. A new plan becomes the next version of the name. Without it the engine has its ID only.",
            examples=["lenet"],
        ),
    ] = None
    format: Annotated[
        Literal["auto", "tensorrt", "onnx", "openvino"],
        Field(description="Format of the plan; `auto` tells it from the first bytes."),
    ] = "auto"


class UploadQuery(UploadOptions, Plan):
    """The query of POST /engines; what is left out comes from the server's settings."""
