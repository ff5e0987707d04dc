"""The metadata that Ultralytics' exporter writes before a plan."""

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
    """An object of nested lists, `depth` containers deep."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return tmp_path / "the.plan"


@pytest.mark.parametrize("metadata", [{"task": "detect", "names": {"0": "person"}, "imgsz": [640, 640]}, {}])
def test_the_json_before_a_plan_is_its_metadata(plan: Path, metadata: dict[str, Any]) -> None:
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
def test_malformed_metadata_is_ignored(plan: Path, content: bytes) -> None:
    plan.write_bytes(content)
    assert read_metadata(plan) is None


def test_metadata_at_its_limits_is_read(plan: Path) -> None:
    plan.write_bytes(wrapped(nested(METADATA_DEPTH)))
    assert read_metadata(plan) is not None
    longest = b'{"a": "' + b"x" * (METADATA_BYTES - 9) + b'"}'
    plan.write_bytes(wrapped(longest))
    assert read_metadata(plan) == json.loads(longest)
