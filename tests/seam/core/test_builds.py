"""Tests of builds at the seam: their options, their progress, and backends that build no plans."""

from pathlib import Path

import pytest

import runtime_ext
from tests.seam.conftest import Harness


def test_options_are_given_by_name_and_read_back() -> None:
    profiles = [{"x": ([1, 3], [8, 3], [32, 3]), "size": ([], [], [])}, {"x": ([32, 3], [32, 3], [64, 3])}]
    options = runtime_ext.BuildOptions(
        device="cuda:1",
        precision="f16",
        profiles=profiles,
        max_batch_size=8,
        workspace_bytes=1 << 40,
        timing_cache="/a/file",
    )
    assert (options.device, options.precision, options.max_batch_size) == ("cuda:1", "f16", 8)
    assert (options.workspace_bytes, options.timing_cache) == (1 << 40, "/a/file")
    assert options.profiles == profiles


def test_options_have_defaults() -> None:
    options = runtime_ext.BuildOptions()
    assert (options.device, options.precision, options.profiles) == ("auto", "auto", [])
    assert (options.max_batch_size, options.workspace_bytes, options.timing_cache) == (1, 0, "")


@pytest.mark.parametrize(
    "given",
    [
        {"speed": 1},
        {"precision": 16},
        {"profiles": {"x": ([1], [1], [1])}},
        {"profiles": [{"x": ([1], [1])}]},
        {"profiles": [{"x": ([1], [1], [2**63])}]},
        {"workspace_bytes": 1.5},
    ],
)
def test_an_option_of_another_name_or_type_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(TypeError, match=f"option {next(iter(given))}"):
        runtime_ext.BuildOptions(**given)  # type: ignore[arg-type]


def test_a_build_that_has_not_begun_has_no_progress() -> None:
    progress = runtime_ext.BuildProgress()
    assert (progress.fraction, progress.phase) == (None, "")


def test_a_backend_that_builds_no_plans_says_so(harness: Harness, tmp_path: Path) -> None:
    plan = tmp_path / "a.plan"
    assert not harness.runtime.backend_builds("toy")
    with pytest.raises(runtime_ext.Error, match="does not build plans") as refused:
        harness.runtime.build(
            "toy", "a.onnx", str(plan), runtime_ext.BuildOptions(), runtime_ext.BuildProgress()
        )
    assert refused.value.kind == "Unsupported"
    assert not plan.exists()


def test_an_unknown_backend_is_refused(harness: Harness) -> None:
    for ask in (
        lambda: harness.runtime.backend_builds("abacus"),
        lambda: harness.runtime.devices_of("abacus", "all"),
        lambda: harness.runtime.build(
            "abacus", "a.onnx", "a.plan", runtime_ext.BuildOptions(), runtime_ext.BuildProgress()
        ),
    ):
        with pytest.raises(runtime_ext.Error, match="no backend called abacus") as refused:
            ask()
        assert refused.value.kind == "Unsupported"
