"""Chooses which of the installed generations of TensorRT loads a plan.

Each major version of TensorRT is a backend of its own in the runtime: `tensorrt8`, `tensorrt11`. The rest
of the service knows only the backend `tensorrt`: the generation that reads a stored plan loads it.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from trtserve.errors import InvalidInput
from trtserve.formats.tensorrt_head import PlanVersion, read_plan_head, shown_version

TENSORRT = "tensorrt"
COMPATIBLE_SINCE = (8, 6)  # plans of this release and later may be built for later ones to read


def is_generation(runtime_backend: str, backend: str) -> bool:
    """True if a backend of the runtime is a generation of this backend of the service."""
    return runtime_backend == backend or _major(runtime_backend, backend) is not None


def newest_first(backends: Sequence[str]) -> list[str]:
    """The generations of TensorRT among the backends of the runtime."""
    return sorted(
        (each for each in backends if is_generation(each, TENSORRT)),
        key=lambda each: _major(each, TENSORRT) or 0,
        reverse=True,
    )


def choose_generation(version: PlanVersion, backends: Sequence[str]) -> str:
    """The backend of the runtime that loads plans of this version: that of its major version, otherwise
    the next one, which reads plans that were built version-compatible.

    Raises InvalidInput if there is none, and names the installed ones.
    """
    installed = {major: each for each in backends if (major := _major(each, TENSORRT)) is not None}
    if not installed or TENSORRT in backends:
        return TENSORRT  # none, as the runtime will say, or one for all
    if version[0] in installed:
        return installed[version[0]]
    later = [major for major in installed if major > version[0]]
    if later and version[:2] >= COMPATIBLE_SINCE:
        return installed[min(later)]
    here = " and ".join(map(str, sorted(installed)))
    raise InvalidInput(
        f"This plan was built by TensorRT {shown_version(version)}; this server runs TensorRT {here}: "
        f"rebuild it with that, or build the server with the headers of TensorRT {version[0]} as well "
        '(README, "On a GPU").'
    )


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
