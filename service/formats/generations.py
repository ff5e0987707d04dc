"""Chooses which of the installed generations of TensorRT loads a plan.

Each major version of TensorRT is a backend of its own in the runtime: `tensorrt8`, `tensorrt11`. The rest
of the service knows only the backend `tensorrt`: the generation that reads a stored plan loads it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from trtserve.errors import InvalidInput
from trtserve.formats.tensorrt_head import PlanVersion, read_plan_head, shown_version
from trtserve.formats.tensorrt_releases import (
    COMPATIBLE_SINCE,
    KNOWN_MAJORS,
    can_be_built_for,
    shown_release,
    where_to_get,
)
from trtserve.text import listed

TENSORRT = "tensorrt"


def is_generation(runtime_backend: str, backend: str) -> bool:
    """True if a backend of the runtime is a generation of this backend of the service."""
    return runtime_backend == backend or _major(runtime_backend, backend) is not None


def generations(backends: Sequence[str]) -> dict[int, str]:
    """The runtime's backends that are generations of TensorRT, by their major version."""
    return {major: each for each in backends if (major := _major(each, TENSORRT)) is not None}


def choose_generation(version: PlanVersion, backends: Sequence[str]) -> str:
    """The backend of the runtime that loads plans of this version: that of its major version, otherwise
    the next one, which reads plans that were built version-compatible.

    Raises InvalidInput if there is none, and names the installed ones.
    """
    installed = generations(backends)
    if not installed or TENSORRT in backends:
        return TENSORRT  # none, as the runtime will say, or one for all
    if version[0] in installed:
        return installed[version[0]]
    later = [major for major in installed if major > version[0]]
    if later and version[:2] >= COMPATIBLE_SINCE:
        return installed[min(later)]
    raise InvalidInput(_refusal(version, installed))


def _refusal(version: PlanVersion, installed: dict[int, str]) -> str:
    here = [str(major) for major in sorted(installed)]
    rebuild = f"rebuild it with TensorRT {listed(here, 'or')}"
    if version[0] not in KNOWN_MAJORS:
        return (
            f"This plan says that TensorRT {shown_version(version)} built it, which this server does not "
            f"know. If that is right, {rebuild}, or update the server; otherwise it is damaged: fetch it "
            "again."
        )
    told = (
        f"This plan was built by TensorRT {shown_version(version)}; this server runs TensorRT "
        f"{listed(here)}: {rebuild}"
    )
    if not can_be_built_for(version):
        return f"{told}."
    return (
        f"{told}, or build the server with the headers of TensorRT {shown_release(version)} as well (README, "
        f'"On a GPU"). {where_to_get(version)}'
    ).rstrip()


def plan_generation(plan: Path, backends: Sequence[str]) -> str:
    """The backend of the runtime that loads a TensorRT plan. Blocks.

    Raises InvalidInput if none reads it, and OSError if the file cannot be read.
    """
    head = read_plan_head(plan)
    if head is None or head.version is None:
        raise InvalidInput("The plan is not a TensorRT plan, or has no version.")
    return choose_generation(head.version, backends)


def _major(runtime_backend: str, backend: str) -> int | None:
    number = re.fullmatch(re.escape(backend) + r"(\d+)", runtime_backend)
    return int(number[1]) if number else None
