"""The refusal of TensorRT plans that are cut off, or whose version cannot be right."""

import struct
from pathlib import Path

import pytest

from tests.fakes.plans import old_tensorrt_plan, tensorrt_plan, wrapped
from trtserve.errors import InvalidInput
from trtserve.formats.sniff import decide, sniff

REAL = Path(__file__).parents[2] / "gpu/plans"
PLAN = (REAL / "double.plan").read_bytes()
BUILT_BY = "a TensorRT plan built by TensorRT 8.5.3.1"

FETCH = "Its download or copy did not come to an end, it seems: fetch it again."
REPAIR = "Fetch it again, or build it again from its ONNX model."
OLD = 'it begins with "ptrt" like plans of TensorRT 8.5 or before'
AS_8_5 = "it is written as by TensorRT 8.5"
NEW = 'it begins with "ftrt" like plans of TensorRT 8.6 or later'
WRAPPED = "wrapped with metadata by Ultralytics"
REBUILD = "No supported TensorRT reads it: build the plan again from its ONNX model."


def told(head: bytes) -> str:
    """The sentence with which a file is refused as a plan."""
    with pytest.raises(InvalidInput) as refused:
        decide(head, "auto", ["openvino", "tensorrt11", "tensorrt8"])
    return str(refused.value)


def count(bytes: int) -> str:
    return "1 byte" if bytes == 1 else f"{bytes} bytes"


@pytest.mark.parametrize("end", range(1, 81))
def test_a_real_plan_that_is_cut_off_is_refused_as_such(end: int) -> None:
    what = f"a TensorRT plan that is cut off: it ends after {count(end)} of the plan, within its header"
    if end < 4:
        what = f"perhaps {what}"
    if end >= 44:
        what = f"{BUILT_BY} that is cut off: it ends after {end} of 18038 bytes"
    assert told(PLAN[:end]) == f"The plan is {what}. {FETCH}"


@pytest.mark.parametrize("name", ["double", "mlp", "mlp2", "addsub", "nonzero", "reshape"])
def test_a_real_plan_without_its_last_byte_is_refused_as_cut_off(name: str) -> None:
    plan = (REAL / f"{name}.plan").read_bytes()
    size = len(plan)
    assert sniff(plan).what == BUILT_BY
    assert (
        told(plan[:-1])
        == f"The plan is {BUILT_BY} that is cut off: it ends after {size - 1} of {size} bytes. {FETCH}"
    )
    assert sniff(plan + b"more").what == BUILT_BY


@pytest.mark.parametrize("end", range(1, 28))
def test_a_newer_plan_that_is_cut_off_in_its_header_is_refused_as_such(end: int) -> None:
    perhaps = "perhaps " if end < 4 else ""
    assert told(tensorrt_plan()[:end]) == (
        f"The plan is {perhaps}a TensorRT plan that is cut off: it ends after {count(end)} of the plan, "
        f"within its header. {FETCH}"
    )


WRAPPER = wrapped(b"")


@pytest.mark.parametrize("end", range(5, len(WRAPPER)))
def test_a_wrapper_that_is_cut_off_is_refused_as_such(end: int) -> None:
    assert told(WRAPPER[:end]) == (
        "The plan is a TensorRT plan, wrapped with metadata by Ultralytics that is cut off: it ends after "
        f"{end} bytes, but its metadata alone should have 58. {FETCH}"
    )


def test_a_wrapper_around_nothing_is_refused_as_such() -> None:
    assert told(WRAPPER) == (
        f"The plan is a TensorRT plan, {WRAPPED} that is cut off: it ends after the metadata. {FETCH}"
    )


@pytest.mark.parametrize("plan", [PLAN, tensorrt_plan()], ids=["8.5.3", "10"])
@pytest.mark.parametrize("end", range(1, 81))
def test_a_wrapped_plan_is_described_like_the_plan_alone(plan: bytes, end: int) -> None:
    alone, inside = sniff(plan[:end]), sniff(wrapped(plan[:end]))
    assert inside.what.replace(", wrapped with metadata by Ultralytics", "") == alone.what.removeprefix(
        "perhaps "
    )
    assert "wrapped with metadata by Ultralytics" in inside.what
    assert (inside.format, inside.advice) == (alone.format, alone.advice)


@pytest.mark.parametrize("at", [24, 25, 26, 27, 29, 34, 39])
def test_a_real_plan_with_a_damaged_tag_of_its_version_is_refused_as_damaged(at: int) -> None:
    damaged = bytearray(PLAN)
    damaged[at] ^= 0xFF
    assert (
        told(bytes(damaged))
        == f"The plan is a TensorRT plan that is damaged: its version cannot be read. {REPAIR}"
    )


@pytest.mark.parametrize(
    ("plan", "like", "version"),
    [
        (old_tensorrt_plan((0, 5, 3, 1)), OLD, "0.5.3.1"),
        (old_tensorrt_plan((8, 6, 3, 1)), OLD, "8.6.3.1"),
        (old_tensorrt_plan((255, 255, 255, 255)), OLD, "255.255.255.255"),
        (old_tensorrt_plan((8, 4, 3, 1)), AS_8_5, "8.4.3.1"),
        (old_tensorrt_plan((1, 5, 3, 1)), AS_8_5, "1.5.3.1"),
        (tensorrt_plan((0, 0, 0, 0)), NEW, "0.0.0.0"),
        (tensorrt_plan((8, 5, 3, 1)), NEW, "8.5.3.1"),
        (tensorrt_plan((3, 9, 0, 0)), NEW, "3.9.0.0"),
    ],
)
def test_a_version_that_contradicts_the_rest_of_the_head_is_refused_as_damage(
    plan: bytes, like: str, version: str
) -> None:
    damage = f"that is damaged: {like}, but its version is {version}. {REPAIR}"
    assert told(plan) == f"The plan is a TensorRT plan {damage}"
    assert told(wrapped(plan)) == f"The plan is a TensorRT plan, {WRAPPED} {damage}"


@pytest.mark.parametrize(
    "plan",
    [
        b"ptrt" + struct.pack("<II", 0, 213) + bytes(100),
        old_tensorrt_plan((8, 4, 1, 5), 213),
        old_tensorrt_plan((7, 2, 3, 4), 96),
    ],
    ids=["serialization of 8.4.1", "8.4.1", "7.2.3"],
)
def test_a_plan_of_a_version_before_8_5_is_refused(plan: bytes) -> None:
    assert told(plan) == f"The plan is a TensorRT plan of a version before 8.5. {REBUILD}"
    assert told(wrapped(plan)) == (
        f"The plan is a TensorRT plan, {WRAPPED} of a version before 8.5. {REBUILD}"
    )
