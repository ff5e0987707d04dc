"""The arguments of the Ray application, and what its replicas are told to serve: its `user_config`."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trtserve.errors import InvalidInput
from trtserve.formats.format import AskedFormat
from trtserve.options.build_options import BuildRequest
from trtserve.options.engine_options import UploadOptions
from trtserve.options.names import Name


class Arguments(BaseModel):
    """The application's arguments: `args` in a Serve config."""

    model_config = ConfigDict(extra="forbid")

    plans: str = Field(description="The folder of the plans: a path that every machine has, or a URL.")
    settings: dict[str, Any] = Field(
        default={},
        description="Settings of `trtserve serve`; `store` is the folder in which the replicas of a machine "
        "keep their stores.",
    )


class SharedEngine(UploadOptions, BuildRequest):
    """An engine by the digest of its plan. Beside it stand the options that an upload has."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="The plan's name in the folder.")]
    version: Annotated[int, Field(ge=1, description="The version that answers name.")] = 1
    format: Annotated[AskedFormat, Field(description="As of an upload.")] = "auto"

    def build(self) -> BuildRequest:
        """What was asked of a build."""
        given = self.model_fields_set & BuildRequest.model_fields.keys()
        return BuildRequest(**self.model_dump(include=given))


class Served(BaseModel):
    """All that a replica serves; what is not here, it removes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engines: dict[Name, SharedEngine] = Field(
        default={}, description="By name; modules after the engines that they call."
    )

    @classmethod
    def read(cls, user_config: dict[str, Any]) -> Self:
        """Raises InvalidInput, which says what is wrong."""
        try:
            return cls.model_validate(user_config)
        except ValidationError as failure:
            wrong = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in failure.errors()]
            raise InvalidInput(f"The user_config cannot be read. {'. '.join(wrong)}.") from failure
