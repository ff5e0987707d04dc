"""A model that was compiled at one load and is imported at the next is the same engine."""

from pathlib import Path

import numpy as np
import openvino
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime_ext
from runtime_ext.backends import OpenVinoOptions
from tests.seam.conftest import Harness
from tests.seam.models import as_blob, doubling, write_onnx

NOW, EARLIER = "at this load", "at an earlier load"
FLOAT = TensorProto.FLOAT


def compiled(harness: Harness, engine: int) -> str:
    return harness.runtime.engine(engine).properties["compiled"]


def written(harness: Harness, plan: Path, file: Path, **options: object) -> int:
    """Load a plan, and write its compiled model to the file."""
    engine = harness.load_file(plan, **options)
    assert harness.runtime.write_compiled(engine, str(file))
    assert file.read_bytes()[:32] == bytes(32)
    return engine


def again(harness: Harness, plan: Path, file: Path, **options: object) -> int:
    return harness.load_file(plan, compiled=str(file), **options)


def told(spec: runtime_ext.TensorSpec) -> tuple[object, ...]:
    """All that an engine says of an input or an output."""
    profiles = [(profile.min, profile.opt, profile.max) for profile in spec.profiles]
    return spec.name, spec.datatype, spec.shape, profiles, spec.location, spec.format, spec.computed_as


def mlp(path: Path) -> Path:
    """A model with weights of 1.2 MB, whose file is mapped."""
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.standard_normal((550, 550)).astype(np.float32) / 20, name)
        for name in ("v", "w")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["bent"]),
        helper.make_node("MatMul", ["bent", "w"], ["y"]),
    ]
    shape = (FLOAT, ["batch", 550])
    return write_onnx(path, nodes, {"x": shape}, {"y": shape, "hidden": shape}, weights)


def several(path: Path) -> Path:
    """Inputs and outputs of one shape, of which some are FP64, and some are one tensor."""
    nodes = [
        helper.make_node("Sub", ["a", "b"], ["difference"]),
        helper.make_node("Identity", ["b"], ["same"]),
        helper.make_node("Cast", ["a"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Identity", ["difference"], ["twice"]),
    ]
    one, wide = (FLOAT, [2, 3]), (TensorProto.DOUBLE, [2, 3])
    outputs = {"same": one, "wide": wide, "twice": one, "difference": one}
    return write_onnx(path, nodes, {"b": one, "a": one}, outputs)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
@pytest.mark.parametrize("make", [doubling, mlp, several])
def test_an_imported_model_is_the_same_engine(
    harness: Harness, tmp_path: Path, make: type[Path], precision: str
) -> None:
    plan, file = make(tmp_path / "m.plan"), tmp_path / "m.compiled"
    first = written(harness, plan, file, precision=precision)
    second = again(harness, plan, file, precision=precision)
    assert (compiled(harness, first), compiled(harness, second)) == (NOW, EARLIER)
    one, other = (harness.runtime.engine(engine) for engine in (first, second))
    assert [told(spec) for spec in one.inputs + one.outputs] == [
        told(spec) for spec in other.inputs + other.outputs
    ]
    assert one.instances == other.instances
    assert {**one.properties, "compiled": ""} == {**other.properties, "compiled": ""}
    for seed in range(3):
        rng = np.random.default_rng(seed)
        shapes = [[2 + seed if size < 0 else size for size in spec.shape] for spec in one.inputs]
        inputs = {
            spec.name: rng.standard_normal(shape).astype(np.float32)
            for spec, shape in zip(one.inputs, shapes, strict=True)
        }
        answers = [harness.infer(engine, **inputs) for engine in (first, second)]
        assert answers[0].keys() == answers[1].keys()
        assert all(np.array_equal(answers[0][name], answers[1][name]) for name in answers[0])


def test_an_imported_model_refuses_the_same_requests_with_the_same_words(
    harness: Harness, tmp_path: Path
) -> None:
    shape = (FLOAT, ["n", 4])
    nodes = [helper.make_node("ReduceMax", ["x"], ["y"], axes=[0], keepdims=0)]
    plan = write_onnx(tmp_path / "m.plan", nodes, {"x": shape}, {"y": (FLOAT, [4])})
    file = tmp_path / "m.compiled"
    engines = written(harness, plan, file), again(harness, plan, file)
    assert compiled(harness, engines[1]) == EARLIER
    words = []
    for engine in engines:
        (done,) = harness.wait(harness.submit(engine, x=np.zeros((0, 4), np.float32)))
        words.append((done.kind, done.message.replace(str(engine), "")))
    assert words[0] == words[1]
    assert words[0][0] is not None


def test_a_model_that_was_imported_is_not_written_again(harness: Harness, tmp_path: Path) -> None:
    plan, file = doubling(tmp_path / "m.plan"), tmp_path / "m.compiled"
    written(harness, plan, file)
    second = again(harness, plan, file)
    assert not harness.runtime.write_compiled(second, str(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("options", [{"threads": 1}, {"precision": "bf16"}])
def test_a_file_for_other_options_is_not_used(
    harness: Harness, tmp_path: Path, options: dict[str, object]
) -> None:
    plan, file = doubling(tmp_path / "m.plan"), tmp_path / "m.compiled"
    written(harness, plan, file)
    other = again(harness, plan, file, **options)
    assert compiled(harness, other) == NOW
    assert harness.runtime.write_compiled(other, str(file))
    assert compiled(harness, again(harness, plan, file, **options)) == EARLIER


def test_a_file_of_another_cpu_or_version_is_not_used(harness: Harness, tmp_path: Path) -> None:
    plan, file = doubling(tmp_path / "m.plan"), tmp_path / "m.compiled"
    written(harness, plan, file)
    whole = file.read_bytes()
    for part in (harness.runtime.backend_version("openvino").encode(), b"fpu", b"trtserve compiled model"):
        assert part in whole
        file.write_bytes(whole.replace(part, part[:-1] + b"?", 1))
        assert compiled(harness, again(harness, plan, file)) == NOW
    file.write_bytes(whole)
    assert compiled(harness, again(harness, plan, file)) == EARLIER


def test_a_file_with_other_inputs_is_not_used(harness: Harness, tmp_path: Path) -> None:
    """One of another plan, with the same options."""
    plan, file = doubling(tmp_path / "m.plan"), tmp_path / "m.compiled"
    written(harness, plan, file)
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"1 x f32", b"1 z f32", 1))
    engine = again(harness, plan, file)
    assert compiled(harness, engine) == NOW
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert np.array_equal(harness.infer(engine, x=x)["y"], 2 * x)


@pytest.mark.parametrize("size", [0, 10, 40, 60, 1500])
def test_a_file_that_cannot_be_read_is_not_used(harness: Harness, tmp_path: Path, size: int) -> None:
    plan, file = doubling(tmp_path / "m.plan"), tmp_path / "m.compiled"
    written(harness, plan, file)
    file.write_bytes(file.read_bytes()[:size])
    assert compiled(harness, again(harness, plan, file)) == NOW
    assert compiled(harness, again(harness, plan, tmp_path / "missing")) == NOW


def test_a_model_with_guards_has_no_file(harness: Harness, tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["x", "at"], ["y"])]
    inputs = {"x": (FLOAT, [5]), "at": (TensorProto.INT64, ["n"])}
    plan = write_onnx(tmp_path / "m.plan", nodes, inputs, {"y": (FLOAT, ["n"])})
    engine = harness.load_file(plan)
    assert not harness.runtime.write_compiled(engine, str(tmp_path / "m.compiled"))
    assert not (tmp_path / "m.compiled").exists()
    (done,) = harness.wait(harness.submit(engine, x=np.zeros(5, np.float32), at=np.int64([9])))
    assert done.kind == "InvalidInput"


def test_a_blob_is_never_taken_for_a_compiled_file_nor_written_to_one(tmp_path: Path) -> None:
    harness = Harness(tmp_path, openvino=OpenVinoOptions(allow_blobs=True))
    plan = doubling(tmp_path / "m.plan")
    blob = as_blob(plan, tmp_path / "m.blob")
    assert compiled(harness, again(harness, plan, blob)) == NOW
    engine = harness.load_file(blob)
    assert not harness.runtime.write_compiled(engine, str(tmp_path / "m.compiled"))
    harness.runtime.close()


def test_weights_of_a_large_file_are_those_of_the_plan(harness: Harness, tmp_path: Path) -> None:
    plan, file = mlp(tmp_path / "m.plan"), tmp_path / "m.compiled"
    first = written(harness, plan, file)
    second = again(harness, plan, file)
    file.unlink()  # as a removal does, while the weights are in use
    x = np.random.default_rng(1).standard_normal((3, 550)).astype(np.float32)
    expected = openvino.compile_model(str(plan), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"x": x})["y"]
    for engine in (first, second):
        assert np.allclose(harness.infer(engine, x=x)["y"], expected, atol=1e-5)
