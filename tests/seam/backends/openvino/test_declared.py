"""Tests that the openvino backend serves the declared tensors, however OpenVINO transforms the nodes."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

import runtime_ext
from tests.seam.conftest import Harness
from tests.seam.models import as_blob, write_onnx

FLOAT = TensorProto.FLOAT
X = np.arange(8, dtype=np.float32).reshape(2, 4) - 3
SHAPES: list[list[int | str]] = [["batch", 4], [2, 4]]
node = helper.make_node


def int64(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def float32(name: str, *values: float) -> TensorProto:
    return numpy_helper.from_array(np.array(values, np.float32), name)


NO_OPERATIONS: dict[str, tuple[NodeProto, list[TensorProto]]] = {
    "Identity": (node("Identity", ["h"], ["y"]), []),
    "Dropout": (node("Dropout", ["h"], ["y"]), []),
    "Cast": (node("Cast", ["h"], ["y"], to=FLOAT), []),
    "Reshape": (node("Reshape", ["h", "c"], ["y"]), [int64("c", -1, 4)]),
    "Flatten": (node("Flatten", ["h"], ["y"]), []),
    "Transpose": (node("Transpose", ["h"], ["y"], perm=[0, 1]), []),
    "Concat": (node("Concat", ["h"], ["y"], axis=0), []),
    "Tile": (node("Tile", ["h", "c"], ["y"]), [int64("c", 1, 1)]),
    "Add": (node("Add", ["h", "c"], ["y"]), [float32("c", 0)]),
    "Sub": (node("Sub", ["h", "c"], ["y"]), [float32("c", 0)]),
    "Mul": (node("Mul", ["h", "c"], ["y"]), [float32("c", 1)]),
    "Div": (node("Div", ["h", "c"], ["y"]), [float32("c", 1)]),
    "Pow": (node("Pow", ["h", "c"], ["y"]), [float32("c", 1)]),
    "Pad": (node("Pad", ["h", "c"], ["y"]), [int64("c", 0, 0, 0, 0)]),
    "Expand": (node("Expand", ["h", "c"], ["y"]), [int64("c", 1, 1)]),
    "Slice": (node("Slice", ["h", "c", "d"], ["y"]), [int64("c", 0), int64("d", 2**63 - 1)]),
    "Sum": (node("Sum", ["h"], ["y"]), []),
    "Max": (node("Max", ["h"], ["y"]), []),
    "Split": (node("Split", ["h"], ["y"], axis=1), []),
}


def tensor_names(specs: list[runtime_ext.TensorSpec]) -> list[str]:
    return [spec.name for spec in specs]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("operator", NO_OPERATIONS)
@pytest.mark.parametrize("place", ["before the output", "after the input", "alone"])
def test_a_node_that_does_nothing_changes_neither_names_nor_values(
    harness: Harness, tmp_path: Path, operator: str, shape: list[int | str], place: str
) -> None:
    nothing, constants = NO_OPERATIONS[operator]
    if place == "alone":
        nodes, expected = [node("Identity", ["x"], ["h"]), nothing], X
    elif place == "after the input":
        nodes, expected = [node("Identity", ["x"], ["h"]), nothing, node("Neg", ["y"], ["z"])], -X
    else:
        nodes, expected = [node("Neg", ["x"], ["h"]), nothing], -X
    # Names that sort before and after the nodes' names.
    for name in ("Aa", "zz"):
        inner = {"z": name} if place == "after the input" else {"y": name}
        renamed = [renaming(n, {"x": f"{name}_in", **inner}) for n in nodes]
        spec = (FLOAT, shape)
        plan = write_onnx(tmp_path / "m.plan", renamed, {f"{name}_in": spec}, {name: spec}, constants)
        engine = harness.load_file(plan)
        info = harness.runtime.engine(engine)
        assert (tensor_names(info.inputs), tensor_names(info.outputs)) == ([f"{name}_in"], [name])
        for _ in range(2):
            assert np.array_equal(harness.infer(engine, **{f"{name}_in": X})[name], expected)


def renaming(original: NodeProto, names: dict[str, str]) -> NodeProto:
    renamed = NodeProto.FromString(original.SerializeToString())
    renamed.input[:] = [names.get(name, name) for name in original.input]
    renamed.output[:] = [names.get(name, name) for name in original.output]
    return renamed


def test_a_classifier_that_ends_in_a_flatten_keeps_the_name_of_its_output(
    harness: Harness, tmp_path: Path
) -> None:
    nodes = [
        node("Gemm", ["x", "w"], ["/fc/Gemm_output_0"]),
        node("Flatten", ["/fc/Gemm_output_0"], ["logits"]),
    ]
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    spec = (FLOAT, ["batch", 4])
    engine = harness.load_file(
        write_onnx(tmp_path / "m.plan", nodes, {"x": spec}, {"logits": spec}, [weight])
    )
    assert np.array_equal(harness.infer(engine, x=X)["logits"], X)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_outputs_that_are_one_tensor_are_all_served_in_their_order(
    harness: Harness, tmp_path: Path, shape: list[int | str]
) -> None:
    nodes = [
        node("Neg", ["x"], ["m"]),
        node("Dropout", ["m"], ["z"]),
        node("Identity", ["m"], ["a"]),
        node("Dropout", ["m"], ["k"]),
    ]
    spec = (FLOAT, shape)
    plan = write_onnx(tmp_path / "m.plan", nodes, {"x": spec}, dict.fromkeys("zmak", spec))
    engine = harness.load_file(plan)
    assert tensor_names(harness.runtime.engine(engine).outputs) == ["z", "m", "a", "k"]
    answer = harness.infer(engine, x=X)
    assert all(np.array_equal(answer[name], -X) for name in "zmak")


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("as_plan", ["onnx", "blob"])
def test_an_output_that_is_an_input_is_a_copy_of_it(
    harness: Harness, tmp_path: Path, shape: list[int | str], as_plan: str
) -> None:
    spec = (FLOAT, shape)
    nodes = [node("Neg", ["x"], ["y"]), node("Dropout", ["u"], ["same"])]
    outputs = {"y": spec, "x": spec, "same": spec}
    plan = write_onnx(tmp_path / "m.onnx", nodes, {"u": spec, "x": spec}, outputs)
    if as_plan == "blob":
        plan = as_blob(plan, tmp_path / "m.plan")
    engine = harness.load_file(plan, instances=1)
    u = next(spec.name for spec in harness.runtime.engine(engine).inputs if spec.name != "x")
    sent = [(X * factor, X + factor) for factor in (1, 2, 3)]
    answers = [harness.infer(engine, **{"x": x, u: other}) for x, other in sent]
    for (x, other), answer in zip(sent, answers, strict=True):
        assert np.array_equal(answer["y"], -x)
        assert np.array_equal(answer["x"], x)
        (third,) = answer.keys() - {"x", "y"}
        assert np.array_equal(answer[third], other)


def test_an_input_keeps_its_name_if_a_dropout_reads_it_first(harness: Harness, tmp_path: Path) -> None:
    spec = (FLOAT, ["batch", 4])
    nodes = [
        node("Dropout", ["x"], ["dropped"]),
        node("Dropout", ["u"], ["kept", "mask"]),
        node("Sub", ["dropped", "kept"], ["y"]),
    ]
    inputs = {"u": spec, "x": spec}
    plan = write_onnx(
        tmp_path / "m.plan", nodes, inputs, {"y": spec, "mask": (TensorProto.BOOL, ["batch", 4])}
    )
    engine = harness.load_file(plan)
    assert tensor_names(harness.runtime.engine(engine).inputs) == ["u", "x"]
    answer = harness.infer(engine, u=X, x=3 * X)
    assert np.array_equal(answer["y"], 2 * X)
    assert answer["mask"].all()


def test_an_output_that_is_an_input_outlives_the_request_data(harness: Harness, tmp_path: Path) -> None:
    spec = (FLOAT, ["batch", 4])
    plan = write_onnx(tmp_path / "m.plan", [node("Dropout", ["x"], ["y"])], {"x": spec}, {"y": spec})
    engine = harness.load_file(plan)
    module = runtime_ext.module(harness.runtime, engine)
    import torch

    x = torch.from_numpy(X.copy())
    y = module(x)
    x.zero_()
    assert np.array_equal(y.numpy(), X)


@pytest.mark.parametrize("shape", [[], [0], ["n"], ["n", 0]], ids=str)
def test_scalars_and_empty_tensors_are_passed_through(
    harness: Harness, tmp_path: Path, shape: list[int | str]
) -> None:
    spec = (FLOAT, shape)
    nodes = [node("Identity", ["x"], ["y"]), node("Dropout", ["x"], ["z"])]
    engine = harness.load_file(
        write_onnx(tmp_path / "m.plan", nodes, {"x": spec}, {"x": spec, "y": spec, "z": spec})
    )
    x = np.full([3 if dim == "n" else dim for dim in shape], 7, np.float32)
    answer = harness.infer(engine, x=x)
    assert all(np.array_equal(answer[name], x) and answer[name].shape == x.shape for name in "xyz")


def test_requests_of_a_batch_get_their_own_items_back(harness: Harness, tmp_path: Path) -> None:
    spec = (FLOAT, ["batch", 4])
    nodes = [node("Dropout", ["x"], ["same"]), node("Neg", ["x"], ["minus"])]
    plan = write_onnx(tmp_path / "m.plan", nodes, {"x": spec}, {"same": spec, "minus": spec})
    batch = runtime_ext.BatchOptions(
        max_batch_size=8, max_queue_delay_us=10_000_000, preferred_batch_sizes=[8]
    )
    engine = harness.load_file(plan, instances=1, batch=batch)
    sent = [np.full((1, 4), value, np.float32) for value in range(8)]
    done = harness.wait(*[harness.submit(engine, x=x) for x in sent])
    for x, completion in zip(sent, done, strict=True):
        same, minus = (np.frombuffer(output, np.float32) for output in completion.outputs)
        assert (same.tolist(), minus.tolist()) == (x.ravel().tolist(), (-x).ravel().tolist())


@pytest.mark.parametrize("way", ["initializer", "Identity", "Constant"])
def test_a_constant_output_without_elements_has_its_shape(harness: Harness, tmp_path: Path, way: str) -> None:
    empty = numpy_helper.from_array(np.zeros((0, 3), np.float32), "z" if way == "initializer" else "c")
    nodes = {
        "initializer": [],
        "Identity": [node("Identity", ["c"], ["z"])],
        "Constant": [node("Constant", [], ["z"], value=empty)],
    }[way]
    plan = write_onnx(
        tmp_path / "m.plan",
        [node("Neg", ["x"], ["y"]), *nodes],
        {"x": (FLOAT, ["n"])},
        {"y": (FLOAT, ["n"]), "z": (FLOAT, [0, 3])},
        [] if way == "Constant" else [empty],
    )
    engine = harness.load_file(plan)
    assert harness.runtime.engine(engine).outputs[1].shape == [0, 3]
    answer = harness.infer(engine, x=np.float32([1, 2]))
    assert (answer["y"].tolist(), answer["z"].shape) == ([-1, -2], (0, 3))


def test_an_output_computed_from_an_empty_tensor_is_refused_in_plain_words(
    harness: Harness, tmp_path: Path
) -> None:
    empty = numpy_helper.from_array(np.zeros((0, 3), np.float32), "c")
    nodes = [node("Neg", ["x"], ["y"]), node("Abs", ["c"], ["z"])]
    outputs = {"y": (FLOAT, ["n"]), "z": (FLOAT, [0, 3])}
    plan = write_onnx(tmp_path / "m.plan", nodes, {"x": (FLOAT, ["n"])}, outputs, [empty])
    with pytest.raises(runtime_ext.Error, match=r"'z' .* a tensor without elements") as refused:
        harness.load_file(plan)
    assert refused.value.kind == "Unsupported"


def test_an_output_that_is_a_constant_has_its_value(harness: Harness, tmp_path: Path) -> None:
    nodes = [node("Neg", ["x"], ["y"]), node("Identity", ["c"], ["d"])]
    spec, constant = (FLOAT, ["batch", 4]), (FLOAT, [2])
    plan = write_onnx(
        tmp_path / "m.plan",
        nodes,
        {"x": spec},
        {"d": constant, "y": spec, "c": constant},
        [float32("c", 1, 2)],
    )
    engine = harness.load_file(plan)
    for _ in range(2):
        answer = harness.infer(engine, x=X)
        assert [*answer] == ["d", "y", "c"]
        assert answer["c"].tolist() == answer["d"].tolist() == [1, 2]


def test_inputs_without_an_initializer_are_served_even_if_unused(harness: Harness, tmp_path: Path) -> None:
    spec = (FLOAT, ["batch", 4])
    inputs = {"unused": (FLOAT, ["n"]), "w": (FLOAT, [4]), "x": spec}
    plan = write_onnx(
        tmp_path / "m.plan", [node("Add", ["x", "w"], ["y"])], inputs, {"y": spec}, [float32("w", 1, 2, 3, 4)]
    )
    engine = harness.load_file(plan)
    assert tensor_names(harness.runtime.engine(engine).inputs) == ["unused", "x"]
    answer = harness.infer(engine, unused=np.zeros(5, np.float32), x=X)
    assert np.array_equal(answer["y"], X + np.float32([1, 2, 3, 4]))


def test_a_blob_keeps_the_names_of_its_onnx_file(harness: Harness, tmp_path: Path) -> None:
    nodes = [node("Neg", ["x"], ["h"]), node("Identity", ["h"], ["z"]), node("Identity", ["h"], ["a"])]
    spec = (FLOAT, ["batch", 4])
    onnx_file = write_onnx(tmp_path / "m.onnx", nodes, {"x": spec}, {"z": spec, "a": spec})
    engine = harness.load_file(as_blob(onnx_file, tmp_path / "m.plan"))
    assert tensor_names(harness.runtime.engine(engine).outputs) == ["z", "a"]


# -- the file's declarations compared with OpenVINO's model

WRONG_DECLARATIONS: dict[str, tuple[Any, str]] = {
    "rank": ((FLOAT, ["batch", 4, 1]), "output 'y' is f32 [?, 4, 1] in the file's declaration"),
    "size": ((FLOAT, ["batch", 5]), "f32 [?, 5] in the file's declaration, but f32 [?, 4] as OpenVINO"),
    "datatype": (
        (TensorProto.INT64, ["batch", 4]),
        "i64 [?, 4] in the file's declaration, but f32 [?, 4]",
    ),
}


@pytest.mark.parametrize("what", WRONG_DECLARATIONS)
def test_an_output_that_differs_from_its_declaration_is_refused(
    harness: Harness, tmp_path: Path, what: str
) -> None:
    declared, sentence = WRONG_DECLARATIONS[what]
    plan = write_onnx(
        tmp_path / "m.plan", [node("Neg", ["x"], ["y"])], {"x": (FLOAT, ["batch", 4])}, {"y": declared}
    )
    with pytest.raises(runtime_ext.Error) as refused:
        harness.load_file(plan)
    assert refused.value.kind == "InvalidInput"
    assert sentence in str(refused.value)


@pytest.mark.parametrize("declared", [["n", "m"], [2, "m"], [2, 4], None], ids=str)
def test_an_output_may_be_declared_with_more_or_less_than_openvino_knows(
    harness: Harness, tmp_path: Path, declared: list[int | str] | None
) -> None:
    plan = write_onnx(
        tmp_path / "m.plan",
        [node("Neg", ["x"], ["y"])],
        {"x": (FLOAT, ["batch", 4])},
        {"y": (FLOAT, declared)},
    )
    assert np.array_equal(harness.infer(harness.load_file(plan), x=X)["y"], -X)


REDUCTIONS = {
    "ReduceL1": lambda x, axes, keep: np.abs(x).sum(axes, keepdims=keep),
    "ReduceLogSum": lambda x, axes, keep: np.log(x.sum(axes, keepdims=keep)),
    "ReduceLogSumExp": lambda x, axes, keep: np.log(np.exp(x).sum(axes, keepdims=keep)),
}


@pytest.mark.parametrize("operator", REDUCTIONS)
@pytest.mark.parametrize("opset", [11, 13, 17, 18])
@pytest.mark.parametrize(
    "over", [((1,), True), ((1,), False), ((0, 2), False), ((-1,), True), (None, False)], ids=str
)
def test_reductions_use_the_axes_of_the_node(
    harness: Harness, tmp_path: Path, operator: str, opset: int, over: tuple[tuple[int, ...] | None, bool]
) -> None:
    axes, keep = over
    x = np.random.default_rng(0).random((2, 3, 4), np.float32) + 0.5
    expected = REDUCTIONS[operator](x, axes, keep)
    as_input = opset >= 18 and axes is not None
    attributes = {"axes": axes} if axes is not None and not as_input else {}
    reduce = node(operator, ["x", *(["axes"] if as_input else [])], ["y"], keepdims=int(keep), **attributes)
    plan = write_onnx(
        tmp_path / "m.plan",
        [reduce],
        {"x": (FLOAT, ["n", 3, 4])},
        {"y": (FLOAT, None)},
        [int64("axes", *axes)] if as_input and axes is not None else None,
        opset=opset,
    )
    found = harness.infer(harness.load_file(plan), x=x)["y"]
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=1e-5)


def test_a_log_sum_exp_neither_overflows_nor_makes_nan_of_infinities(
    harness: Harness, tmp_path: Path
) -> None:
    reduce = node("ReduceLogSumExp", ["x"], ["y"], axes=[1], keepdims=0)
    plan = write_onnx(tmp_path / "m.plan", [reduce], {"x": (FLOAT, ["n", 2])}, {"y": (FLOAT, ["n"])})
    x = np.float32([[1000, 1000], [-1000, -1000], [-np.inf, -np.inf], [-np.inf, 1], [np.inf, 1]])
    found = harness.infer(harness.load_file(plan), x=x)["y"]
    assert np.allclose(found, [1000 + np.log(2), -1000 + np.log(2), -np.inf, 1, np.inf])


# -- state


def counting_blob(path: Path) -> Path:
    """Make a blob with a variable: y = x + the sum of all earlier x."""
    opset = openvino.opset13
    x = opset.parameter([1], np.float32, name="x")
    so_far = openvino.opset6.read_value(opset.constant(np.float32([100])), "sum")
    total = opset.add(x, so_far)
    total.output(0).set_names({"y"})
    model = openvino.Model([opset.result(total)], [openvino.opset6.assign(total, "sum")], [x], "counting")
    exported = openvino.Core().compile_model(model, "CPU").export_model()
    path.write_bytes(exported if isinstance(exported, bytes) else exported.getvalue())
    return path


@pytest.mark.parametrize("instances", [1, 3])
def test_no_request_sees_the_variables_of_another(harness: Harness, tmp_path: Path, instances: int) -> None:
    engine = harness.load_file(counting_blob(tmp_path / "m.plan"), instances=instances)
    (name,) = tensor_names(harness.runtime.engine(engine).inputs)
    for value in (1, 2, 3, 4):
        (answer,) = harness.infer(engine, **{name: np.float32([value])}).values()
        assert answer.tolist() == [100 + value]
