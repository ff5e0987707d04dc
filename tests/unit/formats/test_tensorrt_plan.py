"""What Ultralytics' exporter wrote before a plan."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.plans import tensorrt_plan
from trtserve.formats.tensorrt_head import METADATA_BYTES, METADATA_DEPTH, read_metadata


def wrapped(metadata: bytes) -> bytes:
    return struct.pack("<I", len(metadata)) + metadata + tensorrt_plan()


def nested(depth: int) -> bytes:
    """An object with lists in each other, so many containers deep."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return tmp_path / "the.plan"


@pytest.mark.parametrize("metadata", [{"task": "detect", "names": {"0": "person"}, "imgsz": [640, 640]}, {}])
def test_the_metadata_of_a_plan_is_its_json(plan: Path, metadata: dict[str, Any]) -> None:
    plan.write_bytes(wrapped(json.dumps(metadata).encode()))
    assert read_metadata(plan) == metadata


@pytest.mark.parametrize(
    "content",
    [
        b"",
        tensorrt_plan(),
        wrapped(b'{"a": NaN}'),
        wrapped(b'{"a": 1'),
        wrapped(b'{"a": "\xff"}'),
        wrapped(b'{"a": "' + b"x" * METADATA_BYTES + b'"}'),
        wrapped(nested(METADATA_DEPTH + 1)),
        wrapped(nested(100_000)),
    ],
    ids=["empty", "bare", "nan", "broken", "not UTF-8", "long", "deep", "very deep"],
)
def test_what_is_no_metadata_of_a_plan_is_none(plan: Path, content: bytes) -> None:
    plan.write_bytes(content)
    assert read_metadata(plan) is None


def test_metadata_at_its_bounds_is_read(plan: Path) -> None:
    plan.write_bytes(wrapped(nested(METADATA_DEPTH)))
    assert read_metadata(plan) is not None
    longest = b'{"a": "' + b"x" * (METADATA_BYTES - 9) + b'"}'
    plan.write_bytes(wrapped(longest))
    assert read_metadata(plan) == json.loads(longest)
