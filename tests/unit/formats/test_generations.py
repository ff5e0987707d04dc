"""Which generation of TensorRT loads a plan, and the refusal of a plan that none of them reads."""

from pathlib import Path

import pytest

from tests.fakes.plans import tensorrt_plan
from trtserve.errors import InvalidInput
from trtserve.formats.backends import runtime_backend
from trtserve.formats.format import Format
from trtserve.formats.generations import choose_generation, is_generation
from trtserve.formats.sniff import sniff
from trtserve.formats.tensorrt_head import PlanVersion, read_head

REAL = Path(__file__).parents[2] / "gpu/plans"


@pytest.mark.parametrize(
    ("version", "backends", "chosen"),
    [
        ((8, 5, 3, 1), ["openvino", "tensorrt11", "tensorrt8"], "tensorrt8"),
        ((11, 1, 0, 106), ["openvino", "tensorrt11", "tensorrt8"], "tensorrt11"),
        # No library of this version: the next one reads the plan if it is version-compatible.
        ((10, 3, 0, 26), ["tensorrt11", "tensorrt8"], "tensorrt11"),
        ((8, 6, 1, 6), ["tensorrt11", "tensorrt10"], "tensorrt10"),
        ((8, 5, 3, 1), ["tensorrt"], "tensorrt"),
        ((8, 5, 3, 1), ["openvino"], "tensorrt"),  # the runtime refuses it
    ],
)
def test_a_plan_goes_to_the_library_of_its_own_version(
    version: PlanVersion, backends: list[str], chosen: str
) -> None:
    assert choose_generation(version, backends) == chosen


AS_WELL = 'as well (README, "On a GPU").'


@pytest.mark.parametrize(
    ("version", "backends", "told"),
    [
        (
            (8, 5, 3, 1),
            ["tensorrt10", "tensorrt11"],
            "This plan was built by TensorRT 8.5.3.1; this server runs TensorRT 10 and 11: rebuild it with "
            f"TensorRT 10 or 11, or build the server with the headers of TensorRT 8.5.3 {AS_WELL} TensorRT "
            "8.5.3 is in pip's tensorrt==8.5.3.* for Python 3.10.",
        ),
        (
            (8, 5, 2, 2),
            ["tensorrt11"],
            "This plan was built by TensorRT 8.5.2.2; this server runs TensorRT 11: rebuild it with TensorRT "
            f"11, or build the server with the headers of TensorRT 8.5.2 {AS_WELL} TensorRT 8.5.2 is in "
            "JetPack 5.1 and in pip's tensorrt==8.5.2.* for Python 3.10.",
        ),
        (
            (8, 5, 10, 4),  # of DRIVE OS
            ["tensorrt11"],
            "This plan was built by TensorRT 8.5.10.4; this server runs TensorRT 11: rebuild it with "
            f"TensorRT 11, or build the server with the headers of TensorRT 8.5.10 {AS_WELL}",
        ),
        (
            (11, 4, 0, 106),
            ["openvino", "tensorrt8"],
            "This plan was built by TensorRT 11.4.0.106; this server runs TensorRT 8: rebuild it with "
            f"TensorRT 8, or build the server with the headers of TensorRT 11.4.0 {AS_WELL} TensorRT 11.4.0 "
            "is pip's tensorrt==11.4.0.* (tensorrt-cu12 for CUDA 12).",
        ),
        (
            (10, 3, 0, 26),  # no server can be built with its headers
            ["tensorrt8"],
            "This plan was built by TensorRT 10.3.0.26; this server runs TensorRT 8: rebuild it with "
            "TensorRT 8.",
        ),
        (
            (9, 3, 0, 1),
            ["tensorrt8"],
            "This plan was built by TensorRT 9.3.0.1; this server runs TensorRT 8: rebuild it with "
            "TensorRT 8.",
        ),
        (
            (200, 1, 0, 7),
            ["tensorrt8", "tensorrt10", "tensorrt11"],
            "This plan says that TensorRT 200.1.0.7 built it, which this server does not know. If that is "
            "right, rebuild it with TensorRT 8, 10 or 11, or update the server; otherwise it is damaged: "
            "fetch it again.",
        ),
    ],
)
def test_a_plan_that_no_library_reads_is_refused_with_what_to_do(
    version: PlanVersion, backends: list[str], told: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        choose_generation(version, backends)
    assert str(refused.value) == told


def test_only_stored_tensorrt_plans_are_read_for_their_version(tmp_path: Path) -> None:
    backends = ["openvino", "tensorrt11", "tensorrt8"]
    assert runtime_backend("tensorrt", REAL / "double.plan", backends) == "tensorrt8"
    new = tmp_path / "new.plan"
    new.write_bytes(tensorrt_plan((11, 0, 0, 1)))
    assert runtime_backend("tensorrt", new, backends) == "tensorrt11"
    assert runtime_backend("openvino", tmp_path / "nowhere", backends) == "openvino"
    new.write_bytes(b"damaged")
    with pytest.raises(InvalidInput, match="not a TensorRT plan"):
        runtime_backend("tensorrt", new, backends)


def test_only_numbered_backends_are_generations() -> None:
    assert is_generation("tensorrt8", "tensorrt")
    assert is_generation("tensorrt", "tensorrt")
    assert not is_generation("tensorrt_fake", "tensorrt")
    assert not is_generation("openvino", "tensorrt")


@pytest.mark.parametrize("name", ["double", "mlp", "mlp2", "addsub", "nonzero", "reshape"])
def test_the_version_of_a_real_plan_from_tensorrt_8_5_is_read(name: str) -> None:
    plan = (REAL / f"{name}.plan").read_bytes()
    head = read_head(plan)
    assert head is not None
    assert head.version == (8, 5, 3, 1)
    assert not head.rtx
    sniffed = sniff(plan)
    assert (sniffed.format, sniffed.what) == (Format.TENSORRT, "a TensorRT plan built by TensorRT 8.5.3.1")


@pytest.mark.parametrize("end", [4, 24, 28, 43])
def test_a_real_plan_cut_off_in_its_head_is_refused_as_such(end: int) -> None:
    cut = (REAL / "double.plan").read_bytes()[:end]
    assert f"it ends after {end} bytes of the plan" in sniff(cut).what


def test_a_real_plan_wrapped_by_ultralytics_is_refused_as_such() -> None:
    plan = (REAL / "double.plan").read_bytes()
    metadata = b'{"stride": 32}'
    sniffed = sniff(len(metadata).to_bytes(4, "little") + metadata + plan)
    assert sniffed.format is Format.TENSORRT
    assert sniffed.what == "a TensorRT plan built by TensorRT 8.5.3.1, wrapped with metadata by Ultralytics"
