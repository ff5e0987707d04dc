"""The refusal of plans of TensorRT for RTX: real heads, and plans that its builder makes here."""

import subprocess
import sys
from importlib.metadata import version as version_of
from importlib.util import find_spec

import pytest

from tests.fakes.plans import rtx_plan, wrapped
from trtserve.errors import InvalidInput
from trtserve.formats.sniff import decide, sniff
from trtserve.formats.tensorrt_head import PlanVersion

# The first 64 bytes of plans that the builders of TensorRT for RTX wrote, from 1.4.0 to 1.7.1.
RTX_1_4_DEFAULT = bytes.fromhex(
    "76747274000000000200000000000000344d0200000000000104004c767472743e000000000000000000000000000000"
    "dc32000000000000001f000000000000"
)
RTX_1_6_TWO = bytes.fromhex(
    "767472740000000002000000000000001c57020000000000010601787674727430000000000000000000000000000000"
    "f032000000000000001f000000000000"
)
RTX_1_7_TWO = bytes.fromhex(
    "76747274000000000200000000000000a428020000000000010701747674727405000000000000000000000000000000"
    "00000000000000000000000000000000"
)
RTX_1_7_DEFAULT = bytes.fromhex(
    "76747274000000000200000000000000b4560200000000000107017476747274"
    "7e000000000000000000000000000000"
    "0000000000000000001f000000000000"
)

OTHER_LIBRARY = (
    "TensorRT cannot read the plans of that other library: build the plan with TensorRT (trtexec), or upload "
    "the ONNX model that it was built from."
)


def told(head: bytes) -> str:
    """The sentence with which a file is refused as a plan."""
    with pytest.raises(InvalidInput) as refused:
        decide(head, "auto", ["openvino", "tensorrt11", "tensorrt8"])
    return str(refused.value)


def count(bytes: int) -> str:
    return "1 byte" if bytes == 1 else f"{bytes} bytes"


@pytest.mark.parametrize("end", range(1, 65))
def test_a_real_plan_for_rtx_that_is_cut_off_is_refused_with_what_is_known(end: int) -> None:
    if end < 28:
        perhaps = "perhaps " if end < 4 else ""
        what = (
            f"{perhaps}a plan of TensorRT for RTX that is cut off: it ends after {count(end)} of the plan, "
            "within its header"
        )
    elif end < 36:
        what = "a plan built by TensorRT for RTX 1.7.1.116"
    else:
        what = "a plan built by TensorRT for RTX 1.7.1.116 for GPUs of compute capability 7.5 and 8.6"
    assert told(RTX_1_7_TWO[:end]) == f"The plan is {what}. {OTHER_LIBRARY}"


@pytest.mark.parametrize("end", range(1, 65))
def test_a_wrapped_plan_for_rtx_is_described_like_the_plan_alone(end: int) -> None:
    alone, inside = sniff(RTX_1_7_TWO[:end]), sniff(wrapped(RTX_1_7_TWO[:end]))
    assert "wrapped with metadata by Ultralytics" in inside.what
    assert inside.what.replace(", wrapped with metadata by Ultralytics", "") == alone.what.removeprefix(
        "perhaps "
    )
    assert (inside.format, inside.advice) == (None, OTHER_LIBRARY)


@pytest.mark.parametrize(
    ("plan", "what"),
    [
        (RTX_1_4_DEFAULT, "1.4.0.76 for GPUs of compute capability 8.0, 8.6, 8.9, 12.0 and others"),
        (RTX_1_6_TWO, "1.6.1.120 for GPUs of compute capability 12.0 and 12.1"),
        (RTX_1_7_TWO, "1.7.1.116 for GPUs of compute capability 7.5 and 8.6"),
        (RTX_1_7_DEFAULT, "1.7.1.116 for GPUs of compute capability 8.0, 8.6, 8.9, 12.0, 12.1 and others"),
        (rtx_plan((1, 7, 1, 116), 1 << 3), "1.7.1.116 for GPUs of compute capability 8.9"),
        (rtx_plan((1, 7, 1, 116), 0), "1.7.1.116"),
        (rtx_plan((1, 7, 1, 116), 1 << 6), "1.7.1.116"),  # nothing that has a name
        (rtx_plan((1, 8, 0, 1), 1 << 3), "1.8.0.1"),  # no plan of this release was seen
        (rtx_plan((1, 3, 0, 1), 1 << 3), "1.3.0.1"),
    ],
)
def test_a_plan_for_rtx_is_refused_with_its_version_and_gpus(plan: bytes, what: str) -> None:
    assert told(plan) == f"The plan is a plan built by TensorRT for RTX {what}. {OTHER_LIBRARY}"
    what = f"a plan built by TensorRT for RTX {what}, wrapped with metadata by Ultralytics"
    assert told(wrapped(plan)) == f"The plan is {what}. {OTHER_LIBRARY}"


@pytest.mark.parametrize("version", [(0, 7, 1, 116), (255, 0, 0, 0)])
def test_a_version_of_tensorrt_for_rtx_that_is_not_known_is_not_said_to_have_built_the_plan(
    version: PlanVersion,
) -> None:
    shown = ".".join(map(str, version))
    assert told(rtx_plan(version, 2)) == (
        f"The plan is a plan of TensorRT for RTX with the version {shown}, which this server does not know. "
        f"{OTHER_LIBRARY}"
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Plans that the builder of TensorRT for RTX has just built, by the capabilities that were asked for."""
    if not find_spec("tensorrt_rtx_libs") or not find_spec("tensorrt_rtx_bindings"):
        pytest.skip("the builder of TensorRT for RTX is not installed (tensorrt-rtx-cu13-libs and -bindings)")
    folder = tmp_path_factory.mktemp("rtx")
    subprocess.run([sys.executable, "-m", "tests.rtx_builder", str(folder)], check=True, timeout=300)
    return {file.stem: file.read_bytes() for file in folder.iterdir()}


def test_the_version_and_the_gpus_of_plans_built_here_are_read(built: dict[str, bytes]) -> None:
    version = version_of("tensorrt-rtx-cu13-libs")
    gpus = {
        "default": "8.0, 8.6, 8.9, 12.0, 12.1 and others",
        "8.0+8.9": "8.0 and 8.9",
        "8.6+12.0+12.1": "8.6, 12.0 and 12.1",
    }
    for asked, plan in built.items():
        what = f"built by TensorRT for RTX {version} for GPUs of compute capability {gpus.get(asked, asked)}"
        assert told(plan) == f"The plan is a plan {what}. {OTHER_LIBRARY}"
    assert len(built) == 9
