"""What is said of whole TensorRT plans, by their version and the versions that the server runs."""

from pathlib import Path

import pytest

from tests.fakes.plans import tensorrt_plan, wrapped
from trtserve.errors import InvalidInput, Unsupported
from trtserve.formats.format import Format
from trtserve.formats.sniff import decide, sniff
from trtserve.formats.tensorrt import blame_version, check_plan

PLAN = (Path(__file__).parents[2] / "gpu/plans/double.plan").read_bytes()
BUILT_BY = "a TensorRT plan built by TensorRT 8.5.3.1"


def test_a_version_that_is_not_known_is_not_said_to_have_built_the_plan() -> None:
    assert sniff(tensorrt_plan((200, 1, 0, 7))) == (
        "a TensorRT plan with the version 200.1.0.7, which this server does not know",
        Format.TENSORRT,
        "",
        True,
        False,
    )


BUILD_AGAIN = (
    "It is compiled where TensorRT's and CUDA's headers are found: build the server again with them, on a "
    'machine with an NVIDIA GPU (README, "On a GPU"), or upload the ONNX model that the plan was built from.'
)


@pytest.mark.parametrize(
    ("plan", "what", "where"),
    [
        (PLAN, BUILT_BY, " TensorRT 8.5.3 is in pip's tensorrt==8.5.3.* for Python 3.10."),
        (
            tensorrt_plan((8, 6, 1, 6)),
            "a TensorRT plan built by TensorRT 8.6.1.6",
            " TensorRT 8.6.1 is pip's tensorrt==8.6.1.",
        ),
        (tensorrt_plan((8, 6, 2, 3)), "a TensorRT plan built by TensorRT 8.6.2.3", ""),
        (tensorrt_plan((9, 3, 0, 1)), "a TensorRT plan built by TensorRT 9.3.0.1", ""),
        (tensorrt_plan((10, 3, 0, 26)), "a TensorRT plan built by TensorRT 10.3.0.26", ""),
        (
            tensorrt_plan((11, 1, 0, 106)),
            "a TensorRT plan built by TensorRT 11.1.0.106",
            " TensorRT 11.1.0 is pip's tensorrt==11.1.0.* (tensorrt-cu12 for CUDA 12).",
        ),
    ],
)
def test_without_tensorrt_a_plan_is_refused_with_what_its_version_needs(
    plan: bytes, what: str, where: str
) -> None:
    for sent, whose in ((plan, what), (wrapped(plan), f"{what}, wrapped with metadata by Ultralytics")):
        with pytest.raises(Unsupported) as refused:
            decide(sent, "auto", ["openvino"])
        assert str(refused.value) == (
            f"The plan is {whose}, and this server has no tensorrt backend. {BUILD_AGAIN}{where}"
        )


def asked(plan: bytes, library: str) -> None:
    check_plan(plan, ["openvino", "tensorrt11", "tensorrt8"], lambda backend: library)


NEWER = (
    "This plan was built by TensorRT {plan}; this server runs {library}, which reads only plans of its own "
    "version or before: rebuild it with {library}, or install TensorRT {release} on the server. {where}"
)


@pytest.mark.parametrize(
    ("plan", "library", "shown", "where"),
    [
        (PLAN, "8.5.2.2", "8.5.3.1", "TensorRT 8.5.3 is in pip's tensorrt==8.5.3.* for Python 3.10."),
        (PLAN, "8.5.2", "8.5.3.1", "TensorRT 8.5.3 is in pip's tensorrt==8.5.3.* for Python 3.10."),
        (tensorrt_plan((8, 6, 1, 6)), "8.5.3", "8.6.1.6", "TensorRT 8.6.1 is pip's tensorrt==8.6.1."),
        (tensorrt_plan((8, 6, 2, 3)), "8.6.1", "8.6.2.3", ""),
        (
            tensorrt_plan((11, 4, 0, 106)),
            "11.1.0.106",
            "11.4.0.106",
            "TensorRT 11.4.0 is pip's tensorrt==11.4.0.* (tensorrt-cu12 for CUDA 12).",
        ),
        (
            tensorrt_plan((11, 1, 2, 0)),
            "11.1.0.106",
            "11.1.2.0",
            "TensorRT 11.1.2 is pip's tensorrt==11.1.2.* (tensorrt-cu12 for CUDA 12).",
        ),
    ],
)
def test_a_plan_newer_than_the_library_of_its_version_is_refused(
    plan: bytes, library: str, shown: str, where: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        asked(plan, library)
    release = shown.rpartition(".")[0]
    told = NEWER.format(plan=shown, library=library, release=release, where=where)
    assert str(refused.value) == told.rstrip()


@pytest.mark.parametrize("library", ["8.5.3", "8.5.3.1", "8.6.1", "8.6.1.6", "8.10.0"])
def test_a_plan_no_newer_than_the_library_of_its_version_is_left_to_it(library: str) -> None:
    asked(PLAN, library)
    asked(wrapped(PLAN), library)


COMPATIBLE = (
    "or build it version-compatible (trtexec --versionCompatible) and start the server with --allow-host-code"
)


@pytest.mark.parametrize(
    ("plan", "library", "told"),
    [
        (
            PLAN,
            "8.6.1",
            "This plan was built by TensorRT 8.5.3.1; this server runs 8.6.1: rebuild it with 8.6.1, or "
            'serve it where TensorRT 8.5.3 and its headers are installed (README, "On a GPU").',
        ),
        (
            tensorrt_plan((11, 1, 0, 106)),
            "11.4.0.106",
            "This plan was built by TensorRT 11.1.0.106; this server runs 11.4.0.106: rebuild it with "
            f"11.4.0.106, {COMPATIBLE}, or serve it where TensorRT 11.1.0 and its headers are installed "
            '(README, "On a GPU").',
        ),
        (
            tensorrt_plan((10, 3, 0, 26)),
            "11.1.0.106",
            "This plan was built by TensorRT 10.3.0.26; this server runs 11.1.0.106: rebuild it with "
            f"11.1.0.106, {COMPATIBLE}.",
        ),
        (tensorrt_plan((11, 1, 0, 106)), "11.1.0", ""),
        (tensorrt_plan((11, 1, 0, 106)), "a fork", ""),
    ],
)
def test_the_failure_of_an_older_plan_is_explained(
    tmp_path: Path, plan: bytes, library: str, told: str
) -> None:
    for content in (plan, wrapped(plan)):
        file = tmp_path / "a.plan"
        file.write_bytes(content)
        assert blame_version(file, ["tensorrt11", "tensorrt8"], lambda backend: library) == told
