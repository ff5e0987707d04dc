"""Recognises TensorRT plans, and checks whether this server's TensorRT can read one."""

from collections.abc import Callable, Sequence
from pathlib import Path

from trtserve.errors import InvalidInput
from trtserve.formats.format import Format, Sniffed
from trtserve.formats.generations import choose_generation
from trtserve.formats.tensorrt_head import (
    NEW,
    PlanHead,
    PlanVersion,
    read_head,
    read_plan_head,
    shown_version,
)
from trtserve.formats.tensorrt_releases import (
    COMPATIBLE,
    COMPATIBLE_SINCE,
    KNOWN_MAJORS,
    can_be_built_for,
    shown_release,
    where_to_get,
)
from trtserve.text import listed

RTX_MAJOR = 1  # of all releases of TensorRT for RTX

VersionOf = Callable[[str], str]
"""The version of the library behind a backend of the runtime. Blocks, and raises what the runtime raises."""


def recognise_plan(head: bytes) -> Sniffed | None:
    plan = read_head(head)
    if plan is None:
        return None
    wrapped = ", wrapped with metadata by Ultralytics" if plan.wrapped else ""
    perhaps = "perhaps " if len(head) < len(NEW) else ""  # other files may begin with these letters
    if plan.rtx:
        return _rtx(plan, perhaps, wrapped)
    if plan.cut_off:
        built_by = f" built by TensorRT {shown_version(plan.version)}" if plan.version else ""
        return Sniffed(
            f"{perhaps}a TensorRT plan{built_by}{wrapped} that is cut off: {plan.cut_off}",
            advice="Its download or copy did not come to an end, it seems: fetch it again.",
        )
    if plan.damaged:
        return Sniffed(
            f"a TensorRT plan{wrapped} that is damaged: {plan.damaged}",
            advice="Fetch it again, or build it again from its ONNX model.",
        )
    if plan.version is None:
        return Sniffed(
            f"a TensorRT plan{wrapped} of a version before 8.5",
            advice="No supported TensorRT reads it: build the plan again from its ONNX model.",
        )
    shown = shown_version(plan.version)
    if plan.version[0] not in KNOWN_MAJORS:
        return Sniffed(
            f"a TensorRT plan with the version {shown}, which this server does not know{wrapped}",
            Format.TENSORRT,
        )
    where = where_to_get(plan.version) if can_be_built_for(plan.version) else ""
    return Sniffed(f"a TensorRT plan built by TensorRT {shown}{wrapped}", Format.TENSORRT, where)


def _rtx(plan: PlanHead, perhaps: str, wrapped: str) -> Sniffed:
    advice = (
        "TensorRT cannot read the plans of that other library: build the plan with TensorRT (trtexec), or "
        "upload the ONNX model that it was built from."
    )
    if plan.version is None:
        what = f"{perhaps}a plan of TensorRT for RTX{wrapped} that is cut off: {plan.cut_off}"
        return Sniffed(what, advice=advice)
    shown = shown_version(plan.version)
    if plan.version[0] != RTX_MAJOR:
        what = (
            f"a plan of TensorRT for RTX with the version {shown}, which this server does not know{wrapped}"
        )
        return Sniffed(what, advice=advice)
    gpus = f" for GPUs of compute capability {listed(plan.capabilities)}" if plan.capabilities else ""
    return Sniffed(f"a plan built by TensorRT for RTX {shown}{gpus}{wrapped}", advice=advice)


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
            f"which reads only plans of its own version or before: rebuild it with {library}, or install "
            f"TensorRT {shown_release(plan.version)} on the server. {where_to_get(plan.version)}".rstrip()
        )


def blame_version(plan: Path, installed: Sequence[str], version_of: VersionOf) -> str:
    """A sentence if the plan is older than the library, which may explain a failure; else empty. Blocks."""
    head = read_plan_head(plan)
    if head is None or head.version is None:
        return ""
    version = head.version
    library = version_of(choose_generation(version, installed))
    release = _parsed(library)
    if release is None or _release(version) >= release:
        return ""
    ways = [f"rebuild it with {library}"]
    if version[:2] >= COMPATIBLE_SINCE:
        ways.append(COMPATIBLE)
    if can_be_built_for(version):
        ways.append(
            f"serve it where TensorRT {shown_release(version)} and its headers are installed (README, "
            '"On a GPU")'
        )
    return (
        f"This plan was built by TensorRT {shown_version(version)}; this server runs {library}: "
        f"{', or '.join(ways)}."
    )


def _release(plan: PlanVersion) -> tuple[int, ...]:
    """The version without the build: a byte is too small for some, and not every library reports it."""
    return plan[:3]


def _parsed(library: str) -> tuple[int, ...] | None:
    """The release of a library; None if it is not a version."""
    numbers = library.split(".")[:3]
    return tuple(map(int, numbers)) if all(map(str.isdecimal, numbers)) else None
