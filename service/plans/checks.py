"""What is looked at before a library sees a byte of a plan: its format, and whether TensorRT can read it."""

import asyncio
from pathlib import Path

from runtime_ext import Error, Runtime
from trtserve.errors import InvalidInput, TrtserveError, of_kind
from trtserve.formats.generations import choose_generation
from trtserve.formats.sniff import Format, decide
from trtserve.formats.tensorrt_head import PlanVersion, read_head, read_plan_head, shown_version

OF_THE_PLAN = {"InvalidInput", "Unsupported", "ExecutionFailed"}
"""Kinds of failure of a load that another version's plan may be the cause of; the others are the server's."""


async def choose_format(runtime: Runtime, head: bytes, asked: str) -> Format:
    """The format to load a plan as, told by its first bytes; `asked` is a format or "auto".

    Raises what decide() raises, what the backend raises that cannot be opened, and InvalidInput for a
    TensorRT plan of a newer version than the server's library.
    """
    format = decide(head, asked, runtime.backends())
    if format is Format.TENSORRT:
        plan = read_head(head)
        if plan is None or plan.version is None:
            raise InvalidInput(
                'The plan is no TensorRT plan, which begins with "ftrt" or "ptrt"; this one begins with the '
                f"bytes {head[:16].hex(' ')}."
            )
        backend = choose_generation(plan.version, runtime.backends())
        check_version(plan.version, await asyncio.to_thread(runtime.backend_version, backend))
    return format


def check_version(plan: PlanVersion, library: str) -> None:
    """InvalidInput where the plan is newer than `library`, a version such as "11.1.0.106" or "11.4.0"."""
    release = _parsed(library)
    if release is not None and _release(plan) > release:
        raise InvalidInput(
            f"This plan was built by TensorRT {shown_version(plan)}; this server runs {library}, which reads "
            f"only plans of its own version or before: rebuild it with {library}, or update the server."
        )


def explained(runtime: Runtime, plan: Path, failure: Error | TrtserveError) -> Error | TrtserveError:
    """The failure of a TensorRT plan's load, which begins with the versions where they may be its cause.

    Blocks.
    """
    if failure.kind not in OF_THE_PLAN:
        return failure
    try:
        head = read_plan_head(plan)
        if head is None or head.version is None:
            return failure
        library = runtime.backend_version(choose_generation(head.version, runtime.backends()))
    except (Error, TrtserveError, OSError):  # then the failure stands for itself
        return failure
    release = _parsed(library)
    if release is None or _release(head.version) >= release:
        return failure
    words = str(failure)
    return of_kind(
        failure.kind,
        f"This plan was built by TensorRT {shown_version(head.version)}; this server runs {library}: rebuild "
        f"it, or build it version-compatible. {words[:1].upper()}{words[1:]}",
    )


def _release(plan: PlanVersion) -> tuple[int, ...]:
    """Without the build: a byte is too small for some, and not every library tells its own."""
    return plan[:3]


def _parsed(library: str) -> tuple[int, ...] | None:
    """The release of a library; None where it is no version."""
    numbers = library.split(".")[:3]
    return tuple(map(int, numbers)) if all(map(str.isdecimal, numbers)) else None
