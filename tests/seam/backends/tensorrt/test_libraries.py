"""Tests of which runtime library is used, and which is refused; and of plugin libraries."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import runtime_ext
from tests.fakes import tensorrt as sdk
from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt, running


@contextmanager
def library_of(tmp_path: Path, generation: sdk.Generation, version: int) -> Iterator[TensorRt]:
    """Run a runtime whose library says that it is of that version."""
    with running(tmp_path, generation) as trt:
        trt.sdk.fake_trt_version(version)
        try:
            yield trt
        finally:
            trt.sdk.fake_trt_version(0)


@pytest.mark.parametrize(
    ("generation", "version", "shown"),
    [
        (sdk.V8, 101600, r"10\.16\.0"),
        (sdk.V8, 110100, r"11\.1\.0"),
        (sdk.V11, 8503, r"8\.5\.3"),
        (sdk.V11, 8601, r"8\.6\.1"),
        (sdk.V11, 101600, r"10\.16\.0"),
    ],
)
def test_a_library_of_another_major_version_is_refused(
    tmp_path: Path, generation: sdk.Generation, version: int, shown: str
) -> None:
    sentence = f"is TensorRT {shown}, but this backend was built for TensorRT {generation.major}"
    with library_of(tmp_path, generation, version) as trt, pytest.raises(runtime_ext.Error, match=sentence):
        trt.runtime.backend_version("trt")


@pytest.mark.parametrize(
    ("generation", "version", "shown", "headers"),
    [
        (sdk.V8, 8502, "8.5.2", "8.5.3"),
        (sdk.V8, 8406, "8.4.6", "8.5.3"),
        (sdk.V11, 110000, "11.0.0", "11.1.0"),
        (sdk.V11, 110099, "11.0.99", "11.1.0"),
    ],
)
def test_a_library_that_is_older_than_the_headers_is_refused(
    tmp_path: Path, generation: sdk.Generation, version: int, shown: str, headers: str
) -> None:
    with library_of(tmp_path, generation, version) as trt:
        created = trt.calls("createInferRuntime_INTERNAL")
        error = trt.refusal(DOUBLE)
        assert trt.calls("createInferRuntime_INTERNAL") == created
    assert error.kind == "Unavailable"
    assert (
        f"{generation.library} is TensorRT {shown}, but this backend was built with the headers of "
        f"{headers}: install that version or a later one of TensorRT {generation.major}, or build the "
        f"server with the headers of {shown}"
    ) in str(error)


@pytest.mark.parametrize(
    ("generation", "version", "shown"), [(sdk.V8, 8601, "8.6.1"), (sdk.V11, 110200, "11.2.0.106")]
)
def test_a_library_that_is_newer_than_the_headers_is_used(
    tmp_path: Path, generation: sdk.Generation, version: int, shown: str
) -> None:
    with library_of(tmp_path, generation, version) as trt:
        assert trt.runtime.backend_version("trt") == shown


@pytest.mark.parametrize(
    ("generation", "shown"), [(sdk.V8, "8.5.3"), (sdk.V11, "11.1.0.106")], ids=["v8", "v11"]
)
def test_the_first_library_that_fits_is_used(tmp_path: Path, generation: sdk.Generation, shown: str) -> None:
    other = sdk.V11 if generation is sdk.V8 else sdk.V8
    libraries = f"/nonexistent.so\nlibm.so.6\n{other.library}\n{generation.library}"
    with running(tmp_path, generation, libraries=libraries) as trt:
        assert trt.runtime.backend_version("trt") == shown


def test_a_missing_library_is_reported_with_the_candidates(
    tmp_path: Path, generation: sdk.Generation
) -> None:
    with running(tmp_path, generation, libraries="/nonexistent.so\nlibm.so.6") as trt:
        with pytest.raises(
            runtime_ext.Error, match=r"libm\.so\.6 is not a TensorRT runtime library"
        ) as refused:
            trt.runtime.backend_version("trt")
        assert refused.value.kind == "Unavailable"


@pytest.mark.parametrize(
    ("generation", "function"),
    [(sdk.V8, "initLibNvInferPlugins"), (sdk.V11, "loadLibrary")],
    ids=["v8", "v11"],
)
def test_named_plugin_libraries_are_loaded(tmp_path: Path, generation: sdk.Generation, function: str) -> None:
    with running(tmp_path, generation, plugins=str(generation.library)) as trt:
        before = trt.calls(function)
        trt.load_plan(DOUBLE)
        trt.load_plan(DOUBLE)
        assert trt.calls(function) == before + 1


def test_a_plugin_library_that_cannot_be_loaded_is_named(tmp_path: Path, generation: sdk.Generation) -> None:
    with running(tmp_path, generation, plugins="/nonexistent/plugins.so") as trt:
        error = trt.refusal(DOUBLE)
    assert error.kind == "Unavailable"
    assert "the TensorRT plugin library /nonexistent/plugins.so cannot be loaded: " in str(error)
