"""Tests of ONNX files whose graph is incomplete: cut off, damaged, or without its data."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import runtime_ext
from tests.seam.conftest import NUMPY, Harness
from tests.seam.models import doubling, scaling, slow, write_onnx
from tests.seam.refused import refusal

FLOAT = (TensorProto.FLOAT, [2, 4])
RELU = helper.make_node("Relu", ["x"], ["y"], name="relu")


def model(nodes: list[NodeProto], initializers: list[TensorProto] | None = None) -> ModelProto:
    """Make a model of these nodes with the input x and the output y."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", *FLOAT)],
        [helper.make_tensor_value_info("y", *FLOAT)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def an_input_that_nothing_produces() -> ModelProto:
    return model([helper.make_node("Add", ["x", "lost"], ["y"], name="adder")])


def a_subgraph_input_that_nothing_produces() -> ModelProto:
    inner = helper.make_graph(
        [helper.make_node("Add", ["x", "lost"], ["z"], name="adder")],
        "branch",
        [],
        [helper.make_tensor_value_info("z", *FLOAT)],
    )
    condition = numpy_helper.from_array(np.array(True), "condition")
    node = helper.make_node("If", ["condition"], ["y"], then_branch=inner, else_branch=inner)
    return model([node], [condition])


def an_output_that_nothing_produces() -> ModelProto:
    return model([helper.make_node("Relu", ["x"], ["z"])])


def no_nodes() -> ModelProto:
    return model([])


def no_outputs() -> ModelProto:
    whole = model([RELU])
    del whole.graph.output[:]
    return whole


def a_node_that_reads_its_own_output() -> ModelProto:
    return model([helper.make_node("Add", ["x", "y"], ["y"])])


def nodes_that_form_a_cycle() -> ModelProto:
    return model(
        [
            helper.make_node("Add", ["x", "b"], ["a"]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("Neg", ["b"], ["y"]),
        ]
    )


def two_nodes_that_produce_the_output() -> ModelProto:
    return model([RELU, helper.make_node("Neg", ["x"], ["y"])])


def two_initializers_of_one_name() -> ModelProto:
    values = numpy_helper.from_array(np.ones(4, np.float32), "w")
    return model([helper.make_node("Add", ["x", "w"], ["y"])], [values, values])


def an_output_declared_twice() -> ModelProto:
    whole = model([RELU])
    whole.graph.output.append(whole.graph.output[0])
    return whole


def an_input_declared_twice() -> ModelProto:
    whole = model([RELU])
    whole.graph.input.append(whole.graph.input[0])
    return whole


def an_input_without_a_name() -> ModelProto:
    whole = model([RELU])
    whole.graph.input.add().type.CopyFrom(whole.graph.input[0].type)
    return whole


def an_input_without_a_type() -> ModelProto:
    whole = model([RELU])
    whole.graph.input[0].ClearField("type")
    return whole


def an_input_whose_size_overflows_64_bits() -> ModelProto:
    whole = model([RELU])
    whole.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, [2**32, 2**32]))
    return whole


def a_node_without_an_operator() -> ModelProto:
    return model([NodeProto(input=["x"], output=["y"], name="node")])


def a_domain_that_is_not_imported() -> ModelProto:
    return model([helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft")])


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (
            an_input_that_nothing_produces,
            "the node 'adder' (Add) of the ONNX file takes 'lost', which no input",
        ),
        (a_subgraph_input_that_nothing_produces, "takes 'lost', which no input, initializer or earlier node"),
        (an_output_that_nothing_produces, "no node of the ONNX file produces 'y', which is an output"),
        (no_nodes, "no node of the ONNX file produces 'y', which is an output"),
        (no_outputs, "has no outputs"),
        (a_node_that_reads_its_own_output, "takes 'y', which no input"),
        (nodes_that_form_a_cycle, "takes 'b', which no input"),
        (two_nodes_that_produce_the_output, "defines 'y' twice"),
        (two_initializers_of_one_name, "defines 'w' twice"),
        (an_output_declared_twice, "declares the output 'y' twice"),
        (an_input_declared_twice, "declares the input 'x' twice"),
        (an_input_without_a_name, "has no name"),
        (an_input_without_a_type, "'x' of the ONNX file has no data type"),
        (an_input_whose_size_overflows_64_bits, "the input 'x' of the ONNX file has more than"),
        (a_node_without_an_operator, "the node 'node' of the ONNX file has no operator"),
        (
            a_domain_that_is_not_imported,
            "is an operator of com.microsoft, whose version the ONNX file does not state",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_incomplete_graph_is_refused(
    harness: Harness, tmp_path: Path, broken: Callable[[], ModelProto], words: str
) -> None:
    error = refusal(harness, tmp_path, broken().SerializeToString())
    assert error.kind == "InvalidInput"
    assert words in str(error)


@pytest.mark.parametrize(
    ("why", "tensor"),
    [
        ("no data", {"dims": [2, 4]}),
        ("too few bytes", {"dims": [2, 4], "raw_data": b"\0" * 31}),
        ("too many bytes", {"dims": [2, 4], "raw_data": b"\0" * 33}),
        ("too few numbers", {"dims": [2, 4], "float_data": [1.0] * 7}),
        ("numbers of another type", {"dims": [2, 4], "int64_data": [1] * 8}),
        ("bytes and numbers", {"dims": [1, 4], "raw_data": b"\0" * 16, "float_data": [1.0] * 4}),
        ("a negative dimension", {"dims": [-2, -4], "raw_data": b"\0" * 32}),
        ("a product that wraps to 0", {"dims": [2**32, 2**32]}),
        ("a product that wraps to 8", {"dims": [2**61, 8, 2**3, 2**3], "raw_data": b"\0" * 32}),
        ("packed in few bytes", {"data_type": TensorProto.INT4, "dims": [2, 4], "raw_data": b"\0" * 3}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("place", ["initializer", "attribute"])
def test_a_tensor_whose_data_does_not_match_its_shape_is_refused(
    harness: Harness, tmp_path: Path, why: str, tensor: dict[str, object], place: str
) -> None:
    wrong = TensorProto(**{"name": "w", "data_type": TensorProto.FLOAT, **tensor})
    add = helper.make_node("Add", ["x", "w"], ["y"])
    if place == "initializer":
        broken = model([add], [wrong])
    else:
        broken = model([helper.make_node("Constant", [], ["w"], value=wrong), add])
    error = refusal(harness, tmp_path, broken.SerializeToString())
    assert error.kind == "InvalidInput"
    assert "the tensor 'w' of the ONNX file " in str(error)


def test_a_tensor_of_a_type_unknown_to_onnx_is_unsupported(harness: Harness, tmp_path: Path) -> None:
    content = model([RELU], [TensorProto(name="w", data_type=99, dims=[1], raw_data=b"\0")])
    error = refusal(harness, tmp_path, content.SerializeToString())
    assert (error.kind, "'w' of the ONNX file has the data type 99" in str(error)) == ("Unsupported", True)


@pytest.mark.parametrize(
    "array",
    [
        np.array(True),
        np.array([1, 2], np.int64),
        np.array([[1], [2]], np.uint32),
        np.array([1.5, -2], np.float16),
        np.array([1.5], np.float64),
        np.zeros(0, np.float32),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
@pytest.mark.parametrize("raw", [True, False])
def test_a_complete_tensor_is_accepted_however_it_is_stored(
    harness: Harness, tmp_path: Path, array: np.ndarray, raw: bool
) -> None:
    element_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    values = array.tobytes() if raw else array.flatten()
    stored = helper.make_tensor("w", element_type, array.shape, values, raw=raw)
    cast = helper.make_node("Cast", ["w"], ["v"], to=TensorProto.FLOAT)
    size = helper.make_node("Size", ["v"], ["n"])
    plan = write_onnx(
        tmp_path / "m.plan",
        [cast, size, helper.make_node("Relu", ["x"], ["y"])],
        {"x": FLOAT},
        {"y": FLOAT, "n": (TensorProto.INT64, [])},
        [stored],
    )
    assert harness.load_file(plan)


def two_opsets(path: Path) -> Path:
    """Make a model whose second operator is from another domain, which is imported last."""
    gelu = helper.make_node("Gelu", ["z"], ["y"], domain="com.microsoft")
    whole = model([helper.make_node("Relu", ["x"], ["z"]), gelu])
    whole.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    path.write_bytes(whole.SerializeToString())
    return path


def exported_by_torch(path: Path) -> Path:
    """Export a small convolutional network with torch.onnx.export."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(72, 3)
    )
    torch.manual_seed(0)
    program = torch.onnx.export(network.eval(), (torch.zeros(2, 1, 8, 8),), dynamo=True, verbose=False)
    assert program is not None
    path.write_bytes(program.model_proto.SerializeToString())
    return path


def with_metadata(path: Path) -> Path:
    whole = onnx.load(scaling(path, 3.0))
    helper.set_model_props(whole, {"author": "somebody", "licence": "none"})
    path.write_bytes(whole.SerializeToString())
    return path


MODELS = [doubling, two_opsets, exported_by_torch, with_metadata, lambda path: slow(path, layers=2, width=4)]
NAMES = ["doubling", "two opsets", "exported by torch", "with metadata", "several nodes"]


def ends_of_fields(message: bytes) -> Iterator[int]:
    """Yield the end of each field of a message; all fields here are varints or have a length."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = 0
        for shift in range(0, 70, 7):
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise AssertionError("no varint")

    while position < len(message):
        tag = varint()
        length = varint()
        if tag & 7 == 2:
            position += length
        yield position


Answer = tuple[list[tuple[str, str, object]], list[tuple[str, str, object]], list[list[float]]]


def answer(harness: Harness, plan: Path) -> Answer | runtime_ext.Error:
    """Return an engine's declarations and answers, or the error of its load."""
    try:
        engine = harness.load_file(plan, instances=1)
    except runtime_ext.Error as error:
        return error
    info = harness.runtime.engine(engine)
    rng = np.random.default_rng(0)
    inputs = {
        spec.name: rng.random([abs(dim) for dim in spec.shape or []]).astype(NUMPY[spec.datatype])
        for spec in info.inputs
    }
    outputs = harness.infer(engine, **inputs)
    harness.runtime.unload(engine)
    declared = [
        [(spec.name, spec.datatype, spec.shape) for spec in specs] for specs in (info.inputs, info.outputs)
    ]
    return declared[0], declared[1], [output.flatten().tolist() for output in outputs.values()]


@pytest.mark.parametrize("write", MODELS, ids=NAMES)
def test_a_file_that_ends_between_two_fields_is_refused_or_answers_like_the_whole_one(
    harness: Harness, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    plan = write(tmp_path / "whole.plan")
    whole = answer(harness, plan)
    assert not isinstance(whole, runtime_ext.Error), whole
    content = plan.read_bytes()
    for end in list(ends_of_fields(content))[:-1]:
        plan.write_bytes(content[:end])
        cut = answer(harness, plan)
        if isinstance(cut, runtime_ext.Error):
            assert cut.kind == "InvalidInput"
            assert "cut off" in str(cut)
        else:
            assert cut == whole


@pytest.mark.parametrize("write", MODELS, ids=NAMES)
def test_a_graph_that_ends_before_its_outputs_is_refused(
    harness: Harness, tmp_path: Path, write: Callable[[Path], Path]
) -> None:
    whole = onnx.load(write(tmp_path / "whole.plan"))
    graph = whole.graph.SerializeToString()
    for end in [0, *ends_of_fields(graph)]:
        whole.graph.Clear()
        whole.graph.ParseFromString(graph[:end])
        if whole.graph.output:
            break
        assert refusal(harness, tmp_path, whole.SerializeToString()).kind == "InvalidInput"


def test_a_file_without_its_functions_is_refused(harness: Harness, tmp_path: Path) -> None:
    whole = model([helper.make_node("F", ["x"], ["y"], domain="own", name="call")])
    whole.opset_import.append(helper.make_opsetid("own", 1))
    error = refusal(harness, tmp_path, whole.SerializeToString())
    assert (error.kind, "F of own, opset 1 (node 'call')" in str(error)) == ("Unsupported", True)
