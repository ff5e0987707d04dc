"""Recognises TensorRT plans, and checks whether this server's TensorRT can read one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from trtserve.errors import InvalidInput
from trtserve.formats.format import Format, Sniffed
from trtserve.formats.generations import choose_generation
from trtserve.formats.tensorrt_head import PlanVersion, read_head, read_plan_head, shown_version

VersionOf = Callable[[str], str]
"""The version of the library behind a backend of the runtime. Blocks, and raises what the runtime raises."""


def recognise_plan(head: bytes) -> Sniffed | None:
    plan = read_head(head)
    if plan is None:
        return None
    wrapped = ", wrapped with metadata by Ultralytics" if plan.wrapped else ""
    if plan.version is None and not plan.cut_off:
        return Sniffed(
            f"a TensorRT plan{wrapped} of a version before 8.5",
            advice="No supported TensorRT reads it: build the plan again from its ONNX model.",
        )
    if plan.version is None:
        return Sniffed(
            f"a TensorRT plan{wrapped} that is cut off: {plan.cut_off}",
            advice="Its download or copy did not come to an end, it seems: fetch it again.",
        )
    if plan.rtx:
        return Sniffed(
            f"a plan built by TensorRT for RTX {shown_version(plan.version)}{wrapped}",
            advice="TensorRT cannot read the plans of that other library: build the plan with TensorRT "
            "(trtexec), or upload the ONNX model that it was built from.",
        )
    return Sniffed(
        f"a TensorRT plan built by TensorRT {shown_version(plan.version)}{wrapped}", Format.TENSORRT
    )


def check_plan(head: bytes, installed: Sequence[str], version_of: VersionOf) -> None:
    """Raise InvalidInput for a file that is not a TensorRT plan, or that a newer TensorRT built. Blocks.

    `head` are the first bytes of the file, and `installed` the backends of the runtime.
    """
    plan = read_head(head)
    if plan is None or plan.version is None:
        raise InvalidInput(
            'The plan is not a TensorRT plan, which begins with "ftrt" or "ptrt"; this one begins with the '
            f"bytes {head[:16].hex(' ')}."
        )
    library = version_of(choose_generation(plan.version, installed))
    release = _parsed(library)
    if release is not None and _release(plan.version) > release:
        raise InvalidInput(
            f"This plan was built by TensorRT {shown_version(plan.version)}; this server runs {library}, "
            f"which reads only plans of its own version or before: rebuild it with {library}, or update the "
            "server."
        )


def blame_version(plan: Path, installed: Sequence[str], version_of: VersionOf) -> str:
    """A sentence if the plan is older than the library, which may explain a failure; else empty. Blocks."""
    head = read_plan_head(plan)
    if head is None or head.version is None:
        return ""
    library = version_of(choose_generation(head.version, installed))
    release = _parsed(library)
    if release is None or _release(head.version) >= release:
        return ""
    return (
        f"This plan was built by TensorRT {shown_version(head.version)}; this server runs {library}: rebuild "
        "it, or build it version-compatible."
    )


def _release(plan: PlanVersion) -> tuple[int, ...]:
    """The version without the build: a byte is too small for some, and not every library reports it."""
    return plan[:3]


def _parsed(library: str) -> tuple[int, ...] | None:
    """The release of a library; None if it is not a version."""
    numbers = library.split(".")[:3]
    return tuple(map(int, numbers)) if all(map(str.isdecimal, numbers)) else None
