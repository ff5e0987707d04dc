"""The head of a TensorRT plan: the version that built it, and what Ultralytics' exporter wrote before it.

The layout is not documented by NVIDIA. `ftrt` in bytes 0 to 3 and the version in bytes 24 to 27 are what
its trtexec reads (printPlanVersion in samples/common/sampleEngines.cpp of github.com/NVIDIA/TensorRT), and
what an NVIDIA engineer says in issue 3073 there: plans of 8.6 and later begin so. Those of 8.5 begin with
`ptrt`, and have a tag before each number of the version (seen in plans of 8.5.3). TensorRT for RTX, which has
its own versions, begins its plans with `vtrt` (seen in plans of 1.7.1). The header also has the plan's size,
as a deserialization error shows ("Size specified in header does not match archive size", issue 1736 there),
but its position is unknown: TensorRT makes that check.

Ultralytics' exporter writes a u32 length and that many bytes of JSON before the plan.
"""

import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import orjson

OLD, NEW, RTX = b"ptrt", b"ftrt", b"vtrt"
MAGICS = (NEW, OLD, RTX)
VERSION_AT = 24
TAG = bytes.fromhex("02800100")  # before each number of the version in an old plan
OLD_VERSION_BYTES = 4 * (len(TAG) + 1)
HEADER_BYTES = VERSION_AT + OLD_VERSION_BYTES  # of a plan, up to and including its version
METADATA_BYTES = 1024**2  # longer JSON is not Ultralytics'; its exporter writes a few KB
METADATA_DEPTH = 32  # deeper JSON is not Ultralytics' either, and encoders have limits
HEAD_BYTES = 4 + METADATA_BYTES + HEADER_BYTES
"""How many bytes of a file's beginning read_head() examines."""

PlanVersion = tuple[int, int, int, int]  # major, minor, patch, build; each a byte in the plan


class PlanHead(NamedTuple):
    version: PlanVersion | None  # None: the file ends before it, or an old plan has none
    rtx: bool = False  # built by TensorRT for RTX; the version is then its own
    wrapped: bool = False  # by Ultralytics
    metadata: bytes = b""  # Ultralytics' JSON, as it is in the file
    cut_off: str = ""  # a clause about a file that ends within its head; otherwise empty


def read_head(head: bytes) -> PlanHead | None:
    """Read the first HEAD_BYTES of a file, or all of a shorter one; None if it is not a TensorRT plan."""
    if head.startswith(MAGICS):
        return _read_plan(head)
    if not re.match(rb"\{\s*[\"}]", head[4:64]):
        return None
    (length,) = struct.unpack_from("<I", head)
    if length > METADATA_BYTES:
        return None
    metadata, plan = head[4 : 4 + length], head[4 + length :]
    if len(plan) < len(NEW) and any(magic.startswith(plan) for magic in MAGICS):
        cut_off = f"it ends after {len(head)} bytes, but its metadata alone should have {length}"
        return PlanHead(None, wrapped=True, cut_off=cut_off)
    if not plan.startswith(MAGICS):
        return None
    return _read_plan(plan)._replace(wrapped=True, metadata=metadata)


def _read_plan(plan: bytes) -> PlanHead:
    old, rtx = plan.startswith(OLD), plan.startswith(RTX)
    if len(plan) < VERSION_AT + (OLD_VERSION_BYTES if old else 4):
        return PlanHead(None, rtx, cut_off=f"it ends after {len(plan)} bytes of the plan, within its header")
    if not old:
        major, minor, patch, build = plan[VERSION_AT : VERSION_AT + 4]
        return PlanHead((major, minor, patch, build), rtx)
    step = len(TAG) + 1
    numbers = [plan[at : at + step] for at in range(VERSION_AT, VERSION_AT + OLD_VERSION_BYTES, step)]
    if any(number[:-1] != TAG for number in numbers):
        return PlanHead(None)
    major, minor, patch, build = (number[-1] for number in numbers)
    return PlanHead((major, minor, patch, build))


def shown_version(version: PlanVersion) -> str:
    return ".".join(map(str, version))


def read_plan_head(path: Path) -> PlanHead | None:
    """Like read_head(), but from a file. Blocks. Raises OSError if the file cannot be read."""
    with path.open("rb") as file:
        return read_head(file.read(HEAD_BYTES))


def read_metadata(path: Path) -> dict[str, Any] | None:
    """The JSON object that Ultralytics' exporter wrote into a plan file; None if there is none.

    Blocks. Raises OSError if the file cannot be read.
    """
    head = read_plan_head(path)
    if head is None or not head.metadata:
        return None
    try:
        metadata = orjson.loads(head.metadata)
    except orjson.JSONDecodeError:
        return None
    return metadata if isinstance(metadata, dict) and _is_shallow(metadata) else None


def _is_shallow(value: object) -> bool:
    """True if containers are nested at most METADATA_DEPTH deep."""
    level = [value]
    for _ in range(METADATA_DEPTH + 1):
        containers = [
            list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)
        ]
        if not containers:
            return True
        level = [inner for container in containers for inner in container]
    return False
