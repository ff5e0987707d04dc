"""What an upload may ask of the build of its engine, in one canonical form: it decides the engine's ID."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from trtserve.errors import InvalidInput
from trtserve.text import shown

BuildPrecision = Literal["auto", "f32", "f16", "bf16", "int8", "fp8"]
"""Every value that some library builds with; the library has the last word."""

AUTO_PROFILE = 16
"""The batch of the profile where neither that nor a number is given. It is the profile's best batch too, and
the execution contexts hold memory for it: small enough for large models, and most of the gain."""

MOST_WORKSPACE = 2**63 - 1
MOST_PROFILES = 64
EXAMPLE = "x:1x3x224x224/8x3x224x224/32x3x224x224"

DIMS = r"-?\d{1,18}(?:x-?\d{1,18}){0,63}"
INPUT = re.compile(rf"(.+?):({DIMS})/({DIMS})/({DIMS})(?:,|$)", re.DOTALL | re.ASCII)
"""A name is as short as it can be: it may have colons and commas of its own."""

Profiles = Annotated[tuple[str, ...], Field(max_length=MOST_PROFILES)]
Range = tuple[list[int], list[int], list[int]]  # least, best and greatest


class BuildRequest(BaseModel):
    """What a person may ask of a build beside the options of its engine."""

    backend: Literal["auto", "tensorrt", "openvino"] = Field(
        default="auto",
        description="What runs an ONNX model: `tensorrt` builds a plan from it on the GPU, `openvino` runs "
        "it as it is; `auto`: `tensorrt` if `device` is a GPU, else `openvino`. Other files have one.",
    )
    profile: list[str] = Field(
        default=[],
        description="Of a build: an optimization profile, as the least, the best and the greatest shape of "
        "each input; once for each profile. None: one for batches up to `max_batch_size` (16 where that is "
        "`auto`), if the first dimension is each input's only dynamic one.",
        examples=[[EXAMPLE]],
    )
    workspace_bytes: int = Field(
        default=0, ge=0, le=MOST_WORKSPACE, description="Of a build: memory that it may use; 0: the default."
    )
    timing_cache: bool = Field(
        default=True,
        description="Of a build: use what earlier builds on this GPU measured, and keep what this one does.",
    )

    def asked_of_build(self) -> list[str]:
        """The options of a build that were asked for, by name; `backend` is asked of other uploads too."""
        return [name for name in BUILD_FIELDS if name in self.model_fields_set]


BUILD_FIELDS = ("profile", "workspace_bytes", "timing_cache")


class BuildOptions(BaseModel):
    """How a plan is built from an ONNX model; `profiles` are canonical, see canonical_profile()."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    precision: BuildPrecision = "auto"
    profiles: Profiles = ()
    max_batch_size: int = 1  # of the profile where none is given; always 1 otherwise
    workspace_bytes: int = 0  # 0: the library's default
    timing_cache: bool = True  # read and write one: changes the time that a build takes, not what it means

    def identity(self) -> str:
        """Whatever of the options changes the plan, as text: equal for equal plans.

        It has no defaults, so that an option that a later version adds does not change it.
        """
        return self.model_dump_json(exclude={"timing_cache"}, exclude_defaults=True)

    def for_runtime(self, device: str, timing_cache: str) -> dict[str, Any]:
        """The options by name, as the runtime's BuildOptions accept them; `timing_cache` is a file's path."""
        return {
            "device": device,
            "precision": self.precision,
            "profiles": [read_profile(profile) for profile in self.profiles],
            "max_batch_size": self.max_batch_size,
            "workspace_bytes": self.workspace_bytes,
            "timing_cache": timing_cache if self.timing_cache else "",
        }


def build_options(
    profiles: Sequence[str], *, precision: str, max_batch_size: int, workspace_bytes: int, timing_cache: bool
) -> BuildOptions:
    """Options in their canonical form. Raises InvalidInput for profiles that cannot be read."""
    if len(profiles) > MOST_PROFILES:
        raise InvalidInput(f"{len(profiles)} profiles are asked for; a plan has {MOST_PROFILES} at most.")
    return BuildOptions(
        precision=precision,  # type: ignore[arg-type]  # the caller has checked it
        profiles=tuple(map(canonical_profile, profiles)),
        max_batch_size=1 if profiles else max_batch_size,
        workspace_bytes=workspace_bytes,
        timing_cache=timing_cache,
    )


def canonical_profile(given: str) -> str:
    """A profile with its inputs by name and its numbers without zeros in front.

    Raises InvalidInput, which says what is wrong and shows an example.
    """
    ranges = read_profile(given)
    return ",".join(
        f"{name}:{'/'.join('x'.join(map(str, dims)) for dims in ranges[name])}" for name in sorted(ranges)
    )


def read_profile(given: str) -> dict[str, Range]:
    """The ranges of a profile by input. Raises InvalidInput, which says what is wrong."""
    ranges: dict[str, Range] = {}
    position = 0
    if "\0" in given:  # which ends a name in the library's interface
        raise _wrong(given, "no name has a NUL")
    while position < len(given) or not ranges:
        found = INPUT.match(given, position)
        if found is None:
            raise _wrong(given, "it is not an input's name, a colon, and three shapes with / between them")
        if given.endswith(",") and found.end() == len(given):
            raise _wrong(given, "it ends with a comma")
        name, *shapes = found.groups()
        if name in ranges:
            raise _wrong(given, f"it has the input {shown(name)} twice")
        least, best, greatest = ([int(dim) for dim in shape.split("x")] for shape in shapes)
        if not len(least) == len(best) == len(greatest):
            raise _wrong(given, f"the shapes of {shown(name)} have different numbers of dimensions")
        if any(not low <= middle <= high for low, middle, high in zip(least, best, greatest, strict=True)):
            raise _wrong(given, f"the shapes of {shown(name)} are not the least, the best and the greatest")
        ranges[name] = (least, best, greatest)
        position = found.end()
    return ranges


def _wrong(given: str, why: str) -> InvalidInput:
    return InvalidInput(
        f"The profile {shown(given)} cannot be read: {why}. Give the least, the best and the greatest "
        f"shape of each input, as profile={EXAMPLE}, with a comma before the next input."
    )
