"""Checks a plan before a library reads it, and explains why a library refused it."""

import asyncio
from pathlib import Path

from runtime_ext import Error, Runtime
from trtserve.errors import TrtserveError, of_kind
from trtserve.formats.backends import BACKENDS, backend_of
from trtserve.formats.format import Format
from trtserve.formats.sniff import decide

OF_THE_PLAN = {"InvalidInput", "Unsupported", "ExecutionFailed"}
"""Kinds of failure of a load that another version's plan may be the cause of; the others are the server's."""


async def choose_format(runtime: Runtime, head: bytes, asked: str) -> Format:
    """The format to load a plan as, from its first bytes; `asked` is a format or "auto".

    Raises the errors of decide(), of the backend's check, and of opening its library.
    """
    format = decide(head, asked, runtime.backends())
    check = backend_of(format).check_plan
    if check is not None:
        await asyncio.to_thread(check, head, runtime.backends(), runtime.backend_version)
    return format


def explained(
    runtime: Runtime, backend: str, plan: Path, failure: Error | TrtserveError
) -> Error | TrtserveError:
    """The failure of a plan's load; it starts with the cause if the backend finds one in the plan.

    Blocks.
    """
    blame = BACKENDS[backend].blame_plan
    if blame is None or failure.kind not in OF_THE_PLAN:
        return failure
    try:
        cause = blame(plan, runtime.backends(), runtime.backend_version)
    except (Error, TrtserveError, OSError):  # then the failure explains itself
        return failure
    words = str(failure)
    return of_kind(failure.kind, f"{cause} {words[:1].upper()}{words[1:]}") if cause else failure
