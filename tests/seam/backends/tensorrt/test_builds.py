"""Tests of building plans from ONNX models, with the fake builder and the fake parser.

One file for all refusals and successes of a build, which share the models at its top.
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import runtime_ext
from runtime_ext import BuildOptions, BuildProgress
from tests.fakes import tensorrt as sdk
from tests.seam.backends.tensorrt.conftest import OF_BUILDS, TensorRt, running

DOUBLE = "input x FP32 -1 4\noutput y scale x 2"
RESIZE = "input x FP32 -1 4\nshape_input size INT64 2\noutput y scale x 2\noutput z fill size FP32 1"
IMAGE = "input x FP32 -1 3 -1 -1\noutput y scale x 2"


class Builds:
    """Builds plans in a folder, with the runtime of a TensorRt."""

    def __init__(self, trt: TensorRt) -> None:
        self.trt = trt
        self.plan = trt.folder / "built.plan"
        self.progress = BuildProgress()

    def build(self, text: str, **options: object) -> Path:
        return self.build_bytes(sdk.toy_model(text), **options)

    def build_bytes(self, model: bytes, **options: object) -> Path:
        file = self.trt.folder / "model.onnx"
        file.write_bytes(model)
        self.trt.runtime.build(
            "trt",
            str(file),
            str(self.plan),
            BuildOptions(**options),  # type: ignore[arg-type]
            self.progress,
        )
        return self.plan

    def serve(self, text: str, **options: object) -> int:
        return self.trt.load_file(self.build(text, **options), "trt")

    def profiles(self, text: str, **options: object) -> list[tuple[list[int], list[int], list[int]]]:
        """Build and load; return the profiles of the first input."""
        engine = self.serve(text, **options)
        first = self.trt.runtime.engine(engine).inputs[0]
        return [(p.min, p.opt, p.max) for p in first.profiles]

    def refusal(self, text: str | bytes, **options: object) -> runtime_ext.Error:
        model = text if isinstance(text, bytes) else sdk.toy_model(text)
        with pytest.raises(runtime_ext.Error) as refused:
            self.build_bytes(model, **options)
        assert not self.plan.exists()
        assert {what: self.trt.live(what) for what in OF_BUILDS} == dict.fromkeys(OF_BUILDS, 0)
        return refused.value


@pytest.fixture
def generation() -> sdk.Generation:
    """The generation whose fake builds plans."""
    return sdk.V11


@pytest.fixture
def builds(trt: TensorRt) -> Builds:
    return Builds(trt)


def log_lines() -> str:
    return "\n".join(record.message for record in runtime_ext.take_log())


def test_the_backend_builds_plans(trt: TensorRt) -> None:
    assert trt.runtime.backend_builds("trt")


def test_a_built_plan_runs(builds: Builds) -> None:
    engine = builds.serve(DOUBLE, max_batch_size=8)
    y = builds.trt.infer(engine, x=np.ones((3, 4), np.float32))["y"]
    assert y.tolist() == [[2.0] * 4] * 3
    assert {what: builds.trt.live(what) for what in OF_BUILDS} == dict.fromkeys(OF_BUILDS, 0)


# -- profiles


def test_without_profiles_the_batch_size_is_the_profile(builds: Builds) -> None:
    assert builds.profiles(DOUBLE, max_batch_size=8) == [([1, 4], [8, 4], [8, 4])]


def test_a_model_of_fixed_shapes_needs_no_profile(builds: Builds) -> None:
    assert builds.profiles("input x FP32 2 4\noutput y scale x 2", max_batch_size=8) == []


def test_the_profiles_are_those_that_were_asked_for(builds: Builds) -> None:
    small, large = ([1, 4], [2, 4], [4, 4]), ([4, 4], [16, 4], [64, 4])
    assert builds.profiles(DOUBLE, profiles=[{"x": small}, {"x": large}]) == [small, large]


def test_an_input_that_decides_shapes_takes_values(builds: Builds) -> None:
    profile = {"x": ([1, 4], [1, 4], [1, 4]), "size": ([1, 1], [2, 2], [3, 4])}
    engine = builds.serve(RESIZE, profiles=[profile])
    size = builds.trt.runtime.engine(engine).inputs[1]
    assert [(v.min, v.max) for v in size.values] == [([1, 1], [3, 4])]


Given = tuple[Sequence[int], Sequence[int], Sequence[int]]


@pytest.mark.parametrize(
    ("model", "profile", "parts"),
    [
        (DOUBLE, {"z": ([1], [1], [1])}, ["input 'z'", "the model's inputs are 'x'"]),
        (DOUBLE, {"x": ([1], [8, 4], [8, 4])}, ["'x'", "least shape [1]", "[?, 4]", "x:1x4/8x4/32x4"]),
        (
            DOUBLE,
            {"x": ([8, 4], [1, 4], [32, 4])},
            ["'x'", "[8, 4] over [1, 4] to [32, 4]", "x:1x4/8x4/32x4"],
        ),
        (DOUBLE, {"x": ([1, 4], [8, 4], [4, 4])}, ["'x'", "[1, 4] over [8, 4] to [4, 4]"]),
        (DOUBLE, {"x": ([1, 4], [1, 5], [1, 4])}, ["'x'", "best shape [1, 5]", "fixes dimension 1 at 4"]),
        (DOUBLE, {"x": ([-1, 4], [1, 4], [1, 4])}, ["'x'", "no dimension is less than 0"]),
        (DOUBLE, {"x": ([0] * 9, [0] * 9, [0] * 9)}, ["'x'", "[?, 4]"]),
        (DOUBLE, {}, ["profile 0 does not say", "'x' of shape [?, 4]", "x:1x4/8x4/32x4"]),
        (
            RESIZE,
            {"x": ([1, 4], [1, 4], [1, 4])},
            ["'size' of shape [2]", "least, best and greatest values, for example size:1x1/8x8/32x32"],
        ),
        (
            RESIZE,
            {"x": ([1, 4], [1, 4], [1, 4]), "size": ([1], [1], [1])},
            ["'size'", "least values [1]", "the input has 2 values"],
        ),
        (
            RESIZE,
            {"x": ([1, 4], [1, 4], [1, 4]), "size": ([3, 3], [2, 3], [4, 4])},
            ["'size'", "number 0 of these must not fall"],
        ),
    ],
)
def test_a_profile_that_does_not_fit_the_model_is_refused(
    builds: Builds, model: str, profile: dict[str, Given], parts: list[str]
) -> None:
    error = builds.refusal(model, profiles=[profile])
    assert error.kind == "InvalidInput"
    assert not [part for part in parts if part not in str(error)], str(error)


def test_the_fault_of_a_later_profile_is_named_by_its_number(builds: Builds) -> None:
    good = {"x": ([1, 4], [2, 4], [4, 4])}
    assert "profile 1 names" in str(builds.refusal(DOUBLE, profiles=[good, {**good, "w": ([1], [1], [1])}]))


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        (IMAGE, ["input 'x' has shape [?, 3, ?, ?]", "x:1x3x1x1/8x3x8x8/32x3x32x32"]),
        (RESIZE, ["input 'size' takes values that decide shapes", "size:1x1/8x8/32x32"]),
    ],
)
def test_a_model_that_needs_a_profile_says_what_to_write(
    builds: Builds, model: str, parts: list[str]
) -> None:
    error = builds.refusal(model, max_batch_size=8)
    assert error.kind == "InvalidInput"
    assert not [part for part in parts if part not in str(error)], str(error)


# -- other options


@pytest.mark.parametrize(
    ("options", "kind", "part"),
    [
        ({"precision": "f16"}, "Unsupported", "python -m modelopt.onnx.autocast"),
        ({"precision": "f32"}, "Unsupported", "takes only auto"),
        ({"precision": "double"}, "InvalidInput", "precision is 'double'; TensorRT 11 takes auto"),
        ({"workspace_bytes": -1}, "InvalidInput", "workspace_bytes is -1"),
        ({"max_batch_size": 0}, "InvalidInput", "max_batch_size is 0"),
        ({"device": "cpu"}, "Unsupported", "builds plans on the GPU"),
        ({"device": "cuda:7"}, "InvalidInput", "device is 'cuda:7'"),
    ],
)
def test_an_option_that_cannot_be_met_is_refused(
    builds: Builds, options: dict[str, object], kind: str, part: str
) -> None:
    error = builds.refusal(DOUBLE, **options)
    assert (error.kind, part in str(error)) == (kind, True), str(error)


def test_the_workspace_is_limited_only_if_asked(builds: Builds) -> None:
    before = builds.trt.calls("setMemoryPoolLimit")
    builds.build(DOUBLE)
    assert builds.trt.calls("setMemoryPoolLimit") == before
    builds.build(DOUBLE, workspace_bytes=1 << 20)
    assert builds.trt.calls("setMemoryPoolLimit") == before + 1


def test_a_plan_is_built_on_the_device_that_was_named(builds: Builds) -> None:
    builds.trt.device.fake_device_count_set(3)
    try:
        builds.build(DOUBLE, device="cuda:2")
    finally:
        builds.trt.device.fake_device_count_set(1)


def test_named_plugin_libraries_are_loaded_for_the_builder(tmp_path: Path) -> None:
    with running(tmp_path, sdk.V11, plugins=str(sdk.V11.library)) as trt:
        before = trt.calls("loadLibrary")
        Builds(trt).build(DOUBLE)
        assert trt.calls("loadLibrary") == before + 1  # a build needs no runtime


# -- models that cannot be built


def test_an_unknown_operator_is_named_with_its_node_and_what_to_do(builds: Builds) -> None:
    error = builds.refusal(f"{DOUBLE}\noperator Foo node foo_3")
    assert error.kind == "Unsupported"
    assert str(error) == (
        "TensorRT 11.1.0.106 does not know the operator Foo of node 'foo_3' (number 0 of the graph): use a "
        "newer TensorRT, replace the operator or decompose it into others, or name a library with a plugin "
        "for it in the setting tensorrt_plugins"
    )


def test_an_operator_that_is_used_in_an_unsupported_way_is_named_with_the_reason(builds: Builds) -> None:
    error = builds.refusal(f"{DOUBLE}\noperator Resize node up_1 the scales must be constant")
    assert error.kind == "Unsupported"
    assert "does not support the operator Resize of node 'up_1'" in str(error)
    assert "as the model uses it: the scales must be constant." in str(error)


@pytest.mark.parametrize(
    ("model", "part"),
    [
        (b"", "the model is empty"),
        (b"garbage", "not an ONNX file"),
        (b"\x08\x08", "cannot read the model: Failed to parse the ONNX model."),
        (sdk.toy_model("nonsense"), "there is no line 'nonsense'"),
    ],
)
def test_a_file_that_is_no_model_is_refused(builds: Builds, model: bytes, part: str) -> None:
    error = builds.refusal(model)
    assert (error.kind, part in str(error)) == ("InvalidInput", True), str(error)


def test_a_failed_build_says_why(builds: Builds) -> None:
    error = builds.refusal(f"{DOUBLE}\nbuild_fail Could not find any implementation for node conv_1.")
    assert error.kind == "InvalidInput"
    assert "cannot build a plan from the model: " in str(error)
    assert "Could not find any implementation for node conv_1." in str(error)


def test_too_little_memory_is_not_the_models_fault(builds: Builds) -> None:
    assert builds.refusal(f"{DOUBLE}\nbuild_no_memory").kind == "Unavailable"


def test_the_builders_memory_comes_from_our_allocator(builds: Builds) -> None:
    builds.trt.device.fake_device_limit(0)
    try:
        error = builds.refusal(DOUBLE)
    finally:
        builds.trt.device.fake_device_limit(-1)
    assert error.kind == "Unavailable"
    builds.build(DOUBLE)


def test_a_plan_that_cannot_be_written_leaves_no_file(builds: Builds) -> None:
    builds.plan = builds.trt.folder / "no folder" / "built.plan"
    error = builds.refusal(DOUBLE)
    assert error.kind == "Unavailable"
    assert "cannot be written: No such file or directory" in str(error)
    assert str(builds.plan) not in str(error)


# -- data outside the model


def external_model(*locations: bytes) -> bytes:
    """A toy model with one tensor for each location of its data."""

    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    tensors = b""
    for location in locations:
        entry = field(1, b"location") + field(2, location)
        tensors += field(5, field(8, b"w") + field(13, entry))
    return sdk.toy_model(DOUBLE) + field(7, tensors)


@pytest.mark.parametrize("location", [b"/etc/passwd", b"../secret", b"a/../../secret", b"link", b"."])
def test_data_outside_the_models_folder_is_not_read(builds: Builds, location: bytes) -> None:
    (builds.trt.folder / "link").symlink_to("/etc/passwd")
    error = builds.refusal(external_model(b"weights.bin", location), external_data=True)
    assert error.kind == "InvalidInput"
    assert f"in the file '{location.decode()}', which is not in the model's folder" in str(error)


def test_data_beside_the_model_is_read_only_if_that_is_allowed(builds: Builds) -> None:
    model = external_model(b"weights.bin", b"parts/weights.bin")
    assert "in the file 'weights.bin', which was not sent with it" in str(builds.refusal(model))
    builds.build_bytes(model, external_data=True)


def test_a_second_location_of_a_tensor_is_checked_too(builds: Builds) -> None:
    entry = b"\x0a\x01x\x12\x04safe\x0a\x08location\x12\x0b/etc/passwd"
    tensor = b"\x6a" + bytes([len(entry)]) + entry
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    error = builds.refusal(sdk.toy_model(DOUBLE) + b"\x3a" + bytes([len(graph)]) + graph, external_data=True)
    assert "'/etc/passwd'" in str(error)


# -- progress


def test_progress_rises_with_the_phases(builds: Builds) -> None:
    gate = builds.trt.new_gate()
    building = threading.Thread(target=builds.build, args=[f"{DOUBLE}\nbuild_phases 4\nbuild_gate {gate}"])
    building.start()
    try:
        builds.trt.wait_for(gate, 1)
        assert builds.progress.fraction == 0.5
        assert builds.progress.phase == "Building Engine, step 3 of 4"
    finally:
        builds.trt.open(gate)
        building.join()
    assert (builds.progress.fraction, builds.progress.phase) == (1.0, "writing the plan")


# -- the timing cache


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "timings"


def test_a_timing_cache_is_kept_from_one_build_to_the_next(builds: Builds, cache: Path) -> None:
    warm = builds.trt.calls("warm builds")
    builds.build(DOUBLE, timing_cache=str(cache))
    assert builds.trt.calls("warm builds") == warm
    builds.build(DOUBLE, timing_cache=str(cache))
    assert builds.trt.calls("warm builds") == warm + 1
    assert [file.name for file in cache.parent.iterdir() if "timings" in file.name] == ["timings"]


def damaged(content: bytes) -> bytes:
    return content[:-1] + b"?"


def of_another_version(content: bytes) -> bytes:
    return content.replace(b"11.1.0.106", b"11.1.0.105")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (damaged, "is damaged, and is ignored"),
        (lambda content: content[:40], "is damaged, and is ignored"),
        (of_another_version, "was written with TensorRT 11.1.0.105, and is ignored"),
        (lambda content: b"something else", "is not one of this server's, and is ignored"),
        (lambda content: b"", "is not one of this server's, and is ignored"),
    ],
)
def test_a_timing_cache_of_no_use_is_ignored_and_replaced(
    builds: Builds, cache: Path, change: object, said: str
) -> None:
    builds.build(DOUBLE, timing_cache=str(cache))
    good = cache.read_bytes()
    cache.write_bytes(change(good))  # type: ignore[operator]
    warm = builds.trt.calls("warm builds")
    runtime_ext.take_log()
    builds.build(DOUBLE, timing_cache=str(cache))
    assert builds.trt.calls("warm builds") == warm
    assert said in log_lines()
    assert cache.read_bytes() == good


def test_a_timing_cache_of_another_gpu_is_ignored(builds: Builds, cache: Path) -> None:
    builds.build(DOUBLE, timing_cache=str(cache))
    warm = builds.trt.calls("warm builds")
    builds.trt.sdk.fake_trt_gpu(1)
    try:
        builds.build(DOUBLE, timing_cache=str(cache))
    finally:
        builds.trt.sdk.fake_trt_gpu(0)
    assert builds.trt.calls("warm builds") == warm
    assert "is of another GPU" in log_lines()


def test_a_timing_cache_that_cannot_be_written_does_not_fail_the_build(
    builds: Builds, tmp_path: Path
) -> None:
    builds.build(DOUBLE, timing_cache=str(tmp_path / "no folder" / "timings"))
    assert "cannot be written" in log_lines()


def test_a_failed_build_leaves_the_timing_cache_as_it_was(builds: Builds, cache: Path) -> None:
    builds.build(DOUBLE, timing_cache=str(cache))
    before = cache.read_bytes()
    builds.plan.unlink()
    builds.refusal(f"{DOUBLE}\nbuild_fail no", timing_cache=str(cache))
    assert cache.read_bytes() == before
