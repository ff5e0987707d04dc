"""The head of a TensorRT plan: the version that built it, and what Ultralytics' exporter wrote before it.

The layout is not documented by NVIDIA. `ftrt` in bytes 0 to 3 and the version in bytes 24 to 27 are what
its trtexec reads (printPlanVersion in samples/common/sampleEngines.cpp of github.com/NVIDIA/TensorRT), and
what an engineer of it told in issue 3073 there. The header has the plan's size too, as errors of
deserialization tell ("Size specified in header does not match archive size", issue 1736 there), but where
it stands is not known: that check is left to TensorRT.

Ultralytics' exporter writes a u32 length and that many bytes of JSON before the plan.
"""

import re
import struct
from pathlib import Path
from typing import Any, NamedTuple

import orjson

MAGIC = b"ftrt"
HEADER_BYTES = 28  # of a plan, up to and with its version
METADATA_BYTES = 1024**2  # more JSON is not Ultralytics'; its exporter writes a few KB
METADATA_DEPTH = 32  # nested deeper it is not either, and encoders have their limits
HEAD_BYTES = 4 + METADATA_BYTES + HEADER_BYTES
"""As much of a file's beginning as read_head() looks at."""

PlanVersion = tuple[int, int, int, int]  # major, minor, patch, build; each a byte in the plan


class PlanHead(NamedTuple):
    version: PlanVersion | None  # None: cut off before it
    wrapped: bool = False  # by Ultralytics
    metadata: bytes = b""  # its JSON, as it is in the file
    cut_off: str = ""  # of a file that ends within its head, a clause that says so; else empty


def read_head(head: bytes) -> PlanHead | None:
    """What the first HEAD_BYTES of a file (or all that there are) tell; None where it is no TensorRT plan."""
    if head.startswith(MAGIC):
        return _read_plan(head)
    if not re.match(rb"\{\s*[\"}]", head[4:64]):
        return None
    (length,) = struct.unpack_from("<I", head)
    if length > METADATA_BYTES:
        return None
    metadata, plan = head[4 : 4 + length], head[4 + length :]
    if len(plan) < len(MAGIC) and MAGIC.startswith(plan):
        cut_off = f"it ends after {len(head)} bytes, and its metadata alone was to have {length}"
        return PlanHead(None, wrapped=True, cut_off=cut_off)
    if not plan.startswith(MAGIC):
        return None
    return _read_plan(plan)._replace(wrapped=True, metadata=metadata)


def _read_plan(plan: bytes) -> PlanHead:
    if len(plan) < HEADER_BYTES:
        return PlanHead(None, cut_off=f"it ends after {len(plan)} bytes of the plan, within its header")
    major, minor, patch, build = plan[24:28]
    return PlanHead((major, minor, patch, build))


def shown_version(version: PlanVersion) -> str:
    return ".".join(map(str, version))


def read_metadata(path: Path) -> dict[str, Any] | None:
    """The JSON object that Ultralytics' exporter wrote into a plan file; None where there is none.

    Blocks. Raises OSError where the file cannot be read.
    """
    with path.open("rb") as file:
        head = read_head(file.read(HEAD_BYTES))
    if head is None or not head.metadata:
        return None
    try:
        metadata = orjson.loads(head.metadata)
    except orjson.JSONDecodeError:
        return None
    return metadata if isinstance(metadata, dict) and _is_shallow(metadata) else None


def _is_shallow(value: object) -> bool:
    """At most METADATA_DEPTH containers within each other."""
    level = [value]
    for _ in range(METADATA_DEPTH + 1):
        containers = [
            list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)
        ]
        if not containers:
            return True
        level = [inner for container in containers for inner in container]
    return False
