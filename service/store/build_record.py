"""What the store keeps of an engine that is built here from an ONNX model."""

import hashlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trtserve.options.build_options import BuildOptions
from trtserve.options.names import Name

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Failure(BaseModel):
    """Why a build failed, as an error's kind and sentence, and for which target."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    message: str
    target: str


class Build(BaseModel):
    """The model and the options that an engine's plan is built from, and what it was last built for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: Digest  # SHA-256 of the ONNX file
    source_bytes: int
    options: BuildOptions
    plan: Digest | None = None  # SHA-256 of the plan; None: not built yet
    target: str = ""  # what the plan was built for: the library's version and the GPU
    # Of an upload that was answered before its engine was built: what is to point to it, once it is READY.
    name: Name | None = None
    version: int | None = None
    failure: Failure | None = None  # of the last build

    @property
    def digest(self) -> str:
        """The digest of the engine, which its ID is derived from: SHA-256, in hex.

        It depends on the model and the options and not on the plan: two builds of one model give plans of
        different bytes, and on every replica the engine is to have the same ID.
        """
        return hashlib.sha256(f"{self.source}\n{self.options.identity()}".encode()).hexdigest()

    def with_(self, **changes: object) -> "Build":
        return self.model_copy(update=changes)


def read_build(text: object) -> tuple[Build | None, bool]:
    """The build in a row of the store, and whether it could be read; None for a plan that was uploaded."""
    if text == "":
        return None, True
    try:
        return Build.model_validate_json(text), True  # type: ignore[arg-type]  # or it is refused here
    except ValidationError:
        return None, False
