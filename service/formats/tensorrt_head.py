"""The head of a TensorRT plan: the version that built it, and what Ultralytics' exporter wrote before it.

The layout is not documented by NVIDIA:

- `ftrt` in bytes 0 to 3 and the version in bytes 24 to 27 are what its trtexec reads (printPlanVersion in
  samples/common/sampleEngines.cpp of github.com/NVIDIA/TensorRT), and what an NVIDIA engineer says in issue
  3073 there: plans of 8.6 and later begin so.
- Plans of 8.5 begin with `ptrt` and have a tag before each number of the version (seen in plans of 8.5.3).
  Bytes 8 to 11 are the version of the serialization, which errors show: 232 in 8.5.1 (issue 2544 there) and
  8.5.3, and 213 in 8.4.1 (issue 2 of github.com/mingj2021/segment-anything-tensorrt).
- Plans of TensorRT for RTX, which has its own versions, begin with `vtrt`. Bytes 24 to 27 are its version,
  the next four are `vtrt` again, and bytes 32 to 35 have a bit for each compute capability that the plan was
  built for (seen in plans that 1.4.0, 1.5.0, 1.6.1 and 1.7.1 built for each capability and for several).

The header also has the plan's size, as a deserialization error shows ("Size specified in header does not
match archive size", issue 1736 there). With serialization 232 it is in bytes 16 to 23, and counts what
follows it (seen in plans of 8.5.3); for later plans its position is unknown, and TensorRT makes that check.

Ultralytics' exporter writes a u32 length and that many bytes of JSON before the plan.
"""

import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import orjson

OLD, NEW, RTX = b"ptrt", b"ftrt", b"vtrt"
MAGICS = (NEW, OLD, RTX)
SERIALIZATION_AT, SIZE_AT, VERSION_AT, CAPABILITIES_AT = 8, 16, 24, 32
TAG = bytes.fromhex("02800100")  # before each number of the version in an old plan
OLD_VERSION_BYTES = 4 * (len(TAG) + 1)
SERIALIZATION_OF_8_5 = 232
HEADER_BYTES = VERSION_AT + OLD_VERSION_BYTES  # of a plan, as far as it is read here
CAPABILITIES = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")  # one for each bit; builders set more by default
SINCE_1_5 = len(CAPABILITIES) - 1  # bits that the builder of 1.4 has no name for
SEEN_RTX = ((1, 4), (1, 7))  # the first and the last release whose plans were seen
METADATA_BYTES = 1024**2  # longer JSON is not Ultralytics'; its exporter writes a few KB
METADATA_DEPTH = 32  # deeper JSON is not Ultralytics' either, and encoders have limits
HEAD_BYTES = 4 + METADATA_BYTES + HEADER_BYTES
"""How many bytes of a file's beginning read_head() examines."""

FIRST_READ, FIRST_NEW = (8, 5), (8, 6)  # the first release that this server reads, and that writes `ftrt`

PlanVersion = tuple[int, int, int, int]  # major, minor, patch, build; each a byte in the plan


class PlanHead(NamedTuple):
    version: PlanVersion | None  # None: cut off or damaged, or an old plan has none
    rtx: bool = False  # built by TensorRT for RTX; the version is then its own
    capabilities: tuple[str, ...] = ()  # of the GPUs that a plan of TensorRT for RTX was built for, if known
    wrapped: bool = False  # by Ultralytics
    metadata: bytes = b""  # Ultralytics' JSON, as it is in the file
    cut_off: str = ""  # a clause about a file that ends too early; otherwise empty
    damaged: str = ""  # a clause about a version that cannot be right; otherwise empty


def read_head(head: bytes) -> PlanHead | None:
    """Read the first HEAD_BYTES of a file, or all of a shorter one; None if it is not a TensorRT plan."""
    if head.startswith(MAGICS) or _begins_magic(head):
        return _read_plan(head, len(head) < HEAD_BYTES)
    if not re.match(rb"\{\s*([\"}]|\Z)", head[4:64]):
        return None
    (length,) = struct.unpack_from("<I", head)
    if length > METADATA_BYTES:
        return None
    metadata, plan = head[4 : 4 + length], head[4 + length :]
    if len(metadata) < length:
        cut_off = f"it ends after {_bytes(head)}, but its metadata alone should have {length}"
        return PlanHead(None, wrapped=True, cut_off=cut_off)
    if not plan:
        return PlanHead(None, wrapped=True, metadata=metadata, cut_off="it ends after the metadata")
    if not plan.startswith(MAGICS) and not _begins_magic(plan):
        return None
    return _read_plan(plan, len(head) < HEAD_BYTES)._replace(wrapped=True, metadata=metadata)


def _begins_magic(plan: bytes) -> bool:
    """True if these bytes are too few for a magic, and could be the beginning of one."""
    return 0 < len(plan) < len(NEW) and any(magic.startswith(plan) for magic in MAGICS)


def _bytes(data: bytes) -> str:
    return f"{len(data)} byte{'s' if len(data) != 1 else ''}"


def _read_plan(plan: bytes, whole: bool) -> PlanHead:
    old, rtx = plan[0] == OLD[0], plan[0] == RTX[0]
    if len(plan) < VERSION_AT + (OLD_VERSION_BYTES if old else 4):
        return PlanHead(None, rtx, cut_off=f"it ends after {_bytes(plan)} of the plan, within its header")
    if old:
        return _read_old(plan, whole)
    major, minor, patch, build = plan[VERSION_AT : VERSION_AT + 4]
    version = (major, minor, patch, build)
    if rtx:
        return PlanHead(version, rtx, _capabilities(plan, version))
    if version[:2] < FIRST_NEW:
        return _contradiction(version, "ftrt", "8.6 or later")
    return PlanHead(version)


def _read_old(plan: bytes, whole: bool) -> PlanHead:
    step = len(TAG) + 1
    (serialization,) = struct.unpack_from("<I", plan, SERIALIZATION_AT)
    (size,) = struct.unpack_from("<Q", plan, SIZE_AT)
    numbers = [plan[at : at + step] for at in range(VERSION_AT, VERSION_AT + OLD_VERSION_BYTES, step)]
    of_8_5 = serialization >= SERIALIZATION_OF_8_5
    if any(number[:-1] != TAG for number in numbers):
        return PlanHead(None, damaged="its version cannot be read" if of_8_5 else "")
    major, minor, patch, build = (number[-1] for number in numbers)
    version = (major, minor, patch, build)
    if not major or version[:2] >= FIRST_NEW:
        return _contradiction(version, "ptrt", "8.5 or before")
    if version[:2] < FIRST_READ:
        damage = f"it is written as by TensorRT 8.5, but its version is {shown_version(version)}"
        return PlanHead(None, damaged=damage if of_8_5 else "")
    size += SIZE_AT + 8
    if whole and serialization == SERIALIZATION_OF_8_5 and len(plan) < size:
        return PlanHead(version, cut_off=f"it ends after {len(plan)} of {size} bytes")
    return PlanHead(version)


def _contradiction(version: PlanVersion, magic: str, releases: str) -> PlanHead:
    shown = shown_version(version)
    return PlanHead(
        None,
        damaged=f'it begins with "{magic}" like plans of TensorRT {releases}, but its version is {shown}',
    )


def _capabilities(plan: bytes, version: PlanVersion) -> tuple[str, ...]:
    """The compute capabilities of a plan of TensorRT for RTX; the last is "others" if it has unknown ones."""
    first, last = SEEN_RTX
    if len(plan) < CAPABILITIES_AT + 4 or not first <= version[:2] <= last:
        return ()
    (bits,) = struct.unpack_from("<I", plan, CAPABILITIES_AT)
    known = CAPABILITIES if version[:2] > first else CAPABILITIES[:SINCE_1_5]
    named = [capability for place, capability in enumerate(known) if bits >> place & 1]
    others = ["others"] if named and bits >> len(known) else []
    return (*named, *others)


def shown_version(version: PlanVersion) -> str:
    """All four numbers, as in 8.5.3.1."""
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
