"""Tests that errors about OpenVINO's missing features name the node and what to do."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import FunctionProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from tests.seam.conftest import Harness
from tests.seam.refused import refusal

FLOAT = (TensorProto.FLOAT, [2, 4])


def model(
    nodes: list[NodeProto],
    spec: tuple[int, list[int]] = FLOAT,
    domain: str = "own",
    functions: Sequence[FunctionProto] = (),
) -> bytes:
    """Make a model of these nodes from x to y, with one additional domain."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", *spec)],
        [helper.make_tensor_value_info("y", *spec)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    made: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=functions)
    return made.SerializeToString()


@pytest.mark.parametrize(
    ("operator", "domain", "words"),
    [
        ("Frobnicate", "", "the operator Frobnicate of ai.onnx, opset 17 (node 'one')"),
        ("Relu", "own", "the operator Relu of own, opset 1 (node 'one')"),
        ("EPContext", "com.microsoft", "the operator EPContext of com.microsoft, opset 1 (node 'one')"),
        ("LabelEncoder", "ai.onnx.ml", "the operator LabelEncoder of ai.onnx.ml, opset 1 (node 'one')"),
    ],
)
def test_an_operator_that_openvino_lacks_is_named(
    harness: Harness, tmp_path: Path, operator: str, domain: str, words: str
) -> None:
    node = helper.make_node(operator, ["x"], ["y"], name="one", domain=domain, ep_cache_context="/etc/hosts")
    error = refusal(harness, tmp_path, model([node], domain=domain or "own"))
    assert error.kind == "Unsupported"
    assert words in str(error)


def test_an_operator_of_a_subgraph_is_named_too(harness: Harness, tmp_path: Path) -> None:
    output = helper.make_tensor_value_info("z", *FLOAT)
    branch = helper.make_graph([helper.make_node("Det2", ["x"], ["z"], name="inner")], "branch", [], [output])
    condition = numpy_helper.from_array(np.array(True))
    nodes = [
        helper.make_node("Constant", [], ["c"], value=condition),
        helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch),
    ]
    error = refusal(harness, tmp_path, model(nodes))
    assert (error.kind, "Det2 of ai.onnx, opset 17 (node 'inner')" in str(error)) == ("Unsupported", True)


def test_a_node_without_a_name_is_named_by_its_output(harness: Harness, tmp_path: Path) -> None:
    error = refusal(harness, tmp_path, model([helper.make_node("Frobnicate", ["x"], ["y"])]))
    assert "(node 'y')" in str(error)


def test_a_function_of_the_file_is_unsupported_and_the_error_says_what_to_do(
    harness: Harness, tmp_path: Path
) -> None:
    opsets = [helper.make_opsetid("", 17)]
    relu = helper.make_node("Relu", ["a"], ["b"])
    function = helper.make_function("own", "F", ["a"], ["b"], [relu], opsets)
    call = helper.make_node("F", ["x"], ["y"], name="call", domain="own")
    error = refusal(harness, tmp_path, model([call], functions=[function]))
    assert error.kind == "Unsupported"
    assert "the node 'call' calls 'F'" in str(error)
    assert "onnx.inliner.inline_local_functions" in str(error)


def test_a_function_that_replaces_an_operator_is_not_ignored(harness: Harness, tmp_path: Path) -> None:
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("", "Relu", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"])], opsets)
    error = refusal(harness, tmp_path, model([helper.make_node("Relu", ["x"], ["y"])], functions=[function]))
    assert error.kind == "Unsupported"


@pytest.mark.parametrize("element_type", [TensorProto.COMPLEX64, TensorProto.COMPLEX128, 99])
def test_a_tensor_of_a_type_that_no_request_can_carry_is_named(
    harness: Harness, tmp_path: Path, element_type: int
) -> None:
    content = model([helper.make_node("Identity", ["x"], ["y"])], (element_type, [2]))
    error = refusal(harness, tmp_path, content)
    assert (error.kind, "the input 'x' of the ONNX file is of " in str(error)) == ("Unsupported", True)


def test_a_sequence_as_an_output_is_unsupported(harness: Harness, tmp_path: Path) -> None:
    made = ModelProto.FromString(model([helper.make_node("SequenceConstruct", ["x"], ["y"])]))
    made.graph.output[0].CopyFrom(helper.make_tensor_sequence_value_info("y", *FLOAT))
    error = refusal(harness, tmp_path, made.SerializeToString())
    assert (error.kind, "the output 'y' of the ONNX file is a sequence" in str(error)) == (
        "Unsupported",
        True,
    )


def test_an_element_of_a_sequence_is_served(harness: Harness, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Constant", [], ["zero"], value_int=0),
        helper.make_node("SequenceConstruct", ["x"], ["sequence"]),
        helper.make_node("SequenceAt", ["sequence", "zero"], ["y"]),
    ]
    plan = tmp_path / "m.plan"
    plan.write_bytes(model(nodes))
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert np.array_equal(harness.infer(harness.load_file(plan), x=x)["y"], x)


def test_a_sparse_initializer_is_unsupported(harness: Harness, tmp_path: Path) -> None:
    made = ModelProto.FromString(model([helper.make_node("Add", ["x", "w"], ["y"])]))
    values = numpy_helper.from_array(np.float32([7]), "w")
    indices = numpy_helper.from_array(np.int64([3]), "indices")
    made.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 4]))
    error = refusal(harness, tmp_path, made.SerializeToString())
    assert (error.kind, "'w' as a sparse tensor" in str(error)) == ("Unsupported", True)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (
            helper.make_node("Concat", ["x", "x"], ["y"], name="one"),
            "(Concat of ai.onnx, opset 17): inputs or",
        ),
        (
            helper.make_node("Softmax", ["x"], ["y"], name="one", axis="last"),
            "(Softmax of ai.onnx, opset 17): ",
        ),
        (
            helper.make_node("Add", ["x"], ["y"], name="one"),
            "(Add of ai.onnx, opset 17): inputs or attributes",
        ),
        (helper.make_node("Reshape", ["x", "x"], ["y"], name="one"), "(Reshape of ai.onnx, opset 17): "),
    ],
    ids=["a missing attribute", "a wrong attribute", "a missing input", "a wrong input"],
)
def test_a_node_that_openvino_cannot_convert_is_named(
    harness: Harness, tmp_path: Path, node: NodeProto, words: str
) -> None:
    error = refusal(harness, tmp_path, model([node]))
    assert error.kind == "InvalidInput"
    assert f"the node 'one' {words}" in str(error)


def test_an_operator_that_openvino_has_only_for_other_types_is_unsupported(
    harness: Harness, tmp_path: Path
) -> None:
    node = helper.make_node("Celu", ["x"], ["y"], name="one")
    error = refusal(harness, tmp_path, model([node], (TensorProto.FLOAT16, [2, 4])))
    assert (error.kind, "the node 'one' (Celu of ai.onnx, opset 17): " in str(error)) == ("Unsupported", True)
