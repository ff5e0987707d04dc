"""Tests of what an ONNX file must declare, and must not request, before OpenVINO gets it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tests.seam.conftest import Harness
from tests.seam.models import doubling, scaling
from tests.seam.refused import refusal

FLOATS = np.arange(4, dtype=np.float32)


def valid(folder: Path) -> ModelProto:
    """Make a model of y = 2 * x, with an initializer named factor."""
    return onnx.load(scaling(folder / "valid.onnx", 2.0))


def external(by: str, name: str = "weights") -> TensorProto:
    """Make a tensor whose four numbers are outside the file, declared in one of the two ways."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4])
    if by != "entries":
        tensor.data_location = TensorProto.EXTERNAL
    if by != "location":
        tensor.external_data.add(key="location", value="*/_ORT_MEM_ADDR_/*")
        tensor.external_data.add(key="offset", value="4096")
        tensor.external_data.add(key="length", value="16")
    return tensor


def initializer(model: ModelProto, tensor: TensorProto) -> None:
    model.graph.initializer.append(tensor)


def sparse_values(model: ModelProto, tensor: TensorProto) -> None:
    indices = numpy_helper.from_array(np.arange(4), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [8]))


def sparse_indices(model: ModelProto, tensor: TensorProto) -> None:
    values = numpy_helper.from_array(FLOATS, "values")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, tensor, [8]))


def constant(tensor: TensorProto) -> NodeProto:
    return helper.make_node("Constant", [], ["constant"], value=tensor)


def attribute(model: ModelProto, tensor: TensorProto) -> None:
    model.graph.node.append(constant(tensor))


def attribute_of_tensors(model: ModelProto, tensor: TensorProto) -> None:
    node = model.graph.node.add(op_type="Constant", output=["constant"])
    node.attribute.add(name="value", type=AttributeProto.TENSORS, tensors=[tensor])


def attribute_of_sparse_tensors(model: ModelProto, tensor: TensorProto) -> None:
    indices = numpy_helper.from_array(np.arange(4), "indices")
    sparse = helper.make_sparse_tensor(tensor, indices, [8])
    node = model.graph.node.add(op_type="Constant", output=["constant"])
    node.attribute.add(name="sparse_value", type=AttributeProto.SPARSE_TENSORS, sparse_tensors=[sparse])


def attribute_of_another_type(model: ModelProto, tensor: TensorProto) -> None:
    node = model.graph.node.add(op_type="Constant", output=["constant"])
    node.attribute.add(name="value_float", type=AttributeProto.FLOAT, f=1.0).t.CopyFrom(tensor)


def graph_with(tensor: TensorProto) -> GraphProto:
    output = helper.make_tensor_value_info("constant", TensorProto.FLOAT, [4])
    return helper.make_graph([constant(tensor)], "branch", [], [output])


def subgraph(model: ModelProto, tensor: TensorProto) -> None:
    branch = graph_with(tensor)
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=branch, else_branch=branch))


def subgraph_of_a_subgraph(model: ModelProto, tensor: TensorProto) -> None:
    branch = graph_with(tensor)
    inner = helper.make_node("If", ["x"], ["constant"], then_branch=branch, else_branch=branch)
    outer = helper.make_graph([inner], "outer", [], list(branch.output))
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=outer, else_branch=outer))


def attribute_of_graphs(model: ModelProto, tensor: TensorProto) -> None:
    node = model.graph.node.add(op_type="If", input=["x"], output=["z"])
    node.attribute.add(name="branches", type=AttributeProto.GRAPHS, graphs=[graph_with(tensor)])


def function(model: ModelProto, tensor: TensorProto) -> None:
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "F", [], ["constant"], [constant(tensor)], opsets))
    model.opset_import.append(helper.make_opsetid("own", 1))


def default_of_a_function(model: ModelProto, tensor: TensorProto) -> None:
    function(model, numpy_helper.from_array(FLOATS, "value"))
    model.functions[0].attribute_proto.add(name="value", type=AttributeProto.TENSOR, t=tensor)


def training(model: ModelProto, tensor: TensorProto) -> None:
    model.training_info.add().algorithm.initializer.append(tensor)


PLACES = [
    initializer,
    sparse_values,
    sparse_indices,
    attribute,
    attribute_of_tensors,
    attribute_of_sparse_tensors,
    attribute_of_another_type,
    subgraph,
    subgraph_of_a_subgraph,
    attribute_of_graphs,
    function,
    default_of_a_function,
    training,
]


@pytest.mark.parametrize("by", ["location and entries", "location", "entries"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_data_outside_the_file_is_refused_wherever_it_is_referenced(
    harness: Harness, tmp_path: Path, place: Callable[[ModelProto, TensorProto], None], by: str
) -> None:
    model = valid(tmp_path)
    place(model, external(by))
    error = refusal(harness, tmp_path, model.SerializeToString())
    assert error.kind == "InvalidInput"
    assert "'weights'" in str(error)
    assert "export with external_data=False" in str(error)


@pytest.mark.parametrize("version", [-1, 15, 99, 2**31, 2**63 - 1])
def test_an_ir_version_that_no_release_has_is_named_and_unsupported(
    harness: Harness, tmp_path: Path, version: int
) -> None:
    model = valid(tmp_path)
    model.ir_version = version
    error = refusal(harness, tmp_path, model.SerializeToString())
    assert error.kind == "Unsupported"
    assert f"IR version {version}, but only versions 1 to 14 are supported" in str(error)


@pytest.mark.parametrize(
    ("domain", "version", "newest"),
    [
        ("", 29, 28),
        ("", 99, 28),
        ("", 2**31, 28),
        ("", 0, 28),
        ("", -1, 28),
        ("ai.onnx", 99, 28),
        ("ai.onnx.ml", 6, 5),
        ("com.microsoft", 2**31, 1),
        ("org.openvinotoolkit", 2**62, 1),
        ("mmdeploy", 2**31, 1_000_000),
        ("my.own", -(2**63), 1_000_000),
    ],
)
def test_an_opset_that_no_release_has_is_named_and_unsupported(
    harness: Harness, tmp_path: Path, domain: str, version: int, newest: int
) -> None:
    model = valid(tmp_path)
    if domain in {"", "ai.onnx"}:
        del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid(domain, version))
    error = refusal(harness, tmp_path, model.SerializeToString())
    assert error.kind == "Unsupported"
    asked = (
        f"version {version} of the operators of {domain or 'ai.onnx'}, but only versions 1 to {newest} are"
    )
    assert asked in str(error)


@pytest.mark.parametrize("again", ["", "ai.onnx"])
def test_two_versions_of_one_domain_are_refused(harness: Harness, tmp_path: Path, again: str) -> None:
    model = valid(tmp_path)
    model.opset_import.append(helper.make_opsetid(again, 13))
    error = refusal(harness, tmp_path, model.SerializeToString())
    assert (error.kind, "two versions of the operators of ai.onnx" in str(error)) == ("InvalidInput", True)


@pytest.mark.parametrize(
    ("field", "words"),
    [("graph", "graph"), ("opset_import", "which operators it uses"), ("ir_version", "its IR version")],
)
def test_a_file_without_a_part_that_every_model_has_is_refused(
    harness: Harness, tmp_path: Path, field: str, words: str
) -> None:
    model = valid(tmp_path)
    model.ClearField(field)
    error = refusal(harness, tmp_path, model.SerializeToString())
    assert (error.kind, "cut off" in str(error), words in str(error)) == ("InvalidInput", True, True)


def test_an_empty_plan_is_refused(harness: Harness, tmp_path: Path) -> None:
    assert refusal(harness, tmp_path, b"").kind == "InvalidInput"


def varint(number: int, length: int = 1) -> bytes:
    """Encode `number` as a varint, padded to `length` bytes, which protobuf also reads."""
    groups = [number >> shift & 0x7F for shift in range(0, max(7 * length, number.bit_length()), 7)]
    return bytes(group | 0x80 for group in groups[:-1]) + bytes(groups[-1:])


def part(number: int, content: bytes, length: int = 1) -> bytes:
    """Encode a field of bytes; its number and its size take `length` bytes each."""
    return varint(number << 3 | 2, length) + varint(len(content), length) + content


def written(model: ModelProto, graph: bytes) -> bytes:
    """Serialize the model with these bytes as its graph."""
    rest = ModelProto()
    rest.CopyFrom(model)
    rest.ClearField("graph")
    return rest.SerializeToString() + graph


def test_a_message_in_two_parts_is_refused(harness: Harness, tmp_path: Path) -> None:
    model = valid(tmp_path)
    later = GraphProto(initializer=[external("entries")])
    content = written(model, part(7, model.graph.SerializeToString()) + part(7, later.SerializeToString()))
    assert onnx.load_from_string(content).graph.initializer[-1].name == "weights"  # protobuf reads it
    error = refusal(harness, tmp_path, content)
    assert (error.kind, "comes twice" in str(error)) == ("InvalidInput", True)


@pytest.mark.parametrize("length", [2, 5])
def test_padded_varints_hide_nothing(harness: Harness, tmp_path: Path, length: int) -> None:
    model = valid(tmp_path)
    tensor = part(8, b"weights", length) + varint(14 << 3, length) + varint(1, 10)
    graph = model.graph.SerializeToString() + part(5, tensor, length)
    content = written(model, part(7, graph, length))
    assert onnx.load_from_string(content).graph.initializer[-1].data_location == TensorProto.EXTERNAL
    error = refusal(harness, tmp_path, content)
    assert "'weights'" in str(error)


@pytest.mark.parametrize(
    ("why", "field"),
    [
        ("a group", b"\x3b\x3c"),
        ("of a wire type that ONNX does not use", b"\x3e"),
        ("number 0", b"\x00\x00"),
        ("not known to ONNX", part(1000, b"")),
        ("a graph that is a number", b"\x38\x01"),
        ("a number that does not end", b"\x28" + b"\x80" * 9),
        ("a number of 70 bits", b"\x28" + b"\xff" * 9 + b"\x02"),
        ("longer than the file", b"\x32\x05long"),
        ("far longer than the file", b"\x32\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    ],
)
def test_an_encoding_that_no_exporter_writes_is_refused(
    harness: Harness, tmp_path: Path, why: str, field: bytes
) -> None:
    error = refusal(harness, tmp_path, valid(tmp_path).SerializeToString() + field)
    assert error.kind == "InvalidInput"
    assert "damaged" in str(error)


def test_deeply_nested_graphs_are_refused(harness: Harness, tmp_path: Path) -> None:
    model = valid(tmp_path)
    graph = b""
    for _ in range(10_000):
        graph = part(1, part(5, part(6, graph)))
    error = refusal(harness, tmp_path, written(model, part(7, graph)))
    assert (error.kind, "deep" in str(error)) == ("InvalidInput", True)


def test_names_that_are_not_text_are_refused(harness: Harness, tmp_path: Path) -> None:
    content = doubling(tmp_path / "m.onnx").read_bytes().replace(b"\x0a\x01x", b"\x0a\x01\xff")
    error = refusal(harness, tmp_path, content)
    assert (error.kind, "UTF-8" in str(error)) == ("InvalidInput", True)
