"""Tests of the check for what TensorRT 8's parser would ignore, alone: its fake builds no plans."""

import ctypes
import random
from collections.abc import Callable
from typing import Any

import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper

from runtime_ext.backends import PLUGIN_DIR

LONGEST = 4096  # bytes of the report
FILES = 3000  # damaged files

Check = Callable[[bytes], str]


@pytest.fixture(scope="module")
def check() -> Check:
    """Return a function that checks a model: its refusal, or nothing."""
    library = ctypes.CDLL(str(PLUGIN_DIR / "libtrtserve_onnx_ignored.so"))
    library.onnx_ignored_check.restype = None
    library.onnx_ignored_check.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    report = ctypes.create_string_buffer(LONGEST)

    def check(content: bytes) -> str:
        library.onnx_ignored_check(content, len(content), report, LONGEST)
        return report.value.decode("utf-8", "replace")

    return check


def node(operator: str, *inputs: str, domain: str = "", **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs, ["y"], name="one", domain=domain, **attributes)


def model(*nodes: NodeProto) -> ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y]))


REDUCTIONS = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSumSquare"
)
IGNORED = [
    *[(node(name, "x", "axes"), "axes as an input") for name in REDUCTIONS.split()],
    (node("ReduceMean", "x", "axes", domain="ai.onnx"), "axes as an input"),
    (node("ScatterElements", "x", "i", "u", axis=0, reduction="add"), "the attribute reduction"),
    (node("ScatterND", "x", "i", "u", reduction="mul"), "the attribute reduction"),
    (node("Resize", "x", "", "s", mode="linear", antialias=1), "the attribute antialias"),
    (node("Resize", "x", "", "s", axes=[2, 3]), "the attribute axes"),
    (
        node("Resize", "x", "", "", "s", keep_aspect_ratio_policy="not_larger"),
        "the attribute keep_aspect_ratio_policy",
    ),
]
READ = [
    node("ReduceMean", "x"),
    node("ReduceMean", "x", ""),
    node("ReduceMean", "x", axes=[1]),
    node("ReduceSum", "x", "axes"),
    node("ReduceMean", "x", "axes", domain="com.example"),
    node("Add", "x", "axes"),
    node("ScatterElements", "x", "i", "u", axis=1),
    node("ScatterElements", "x", "i", "u", reduction="none"),
    node("ScatterND", "x", "i", "u"),
    node("Resize", "x", "", "s", mode="linear", antialias=0),
    node("Resize", "x", "", "s", keep_aspect_ratio_policy="stretch"),
    node("Upsample", "x", "s", antialias=1, axes=[1], reduction="add"),
]


@pytest.mark.parametrize(("ignored", "what"), IGNORED)
def test_what_would_be_ignored_is_refused_by_node(check: Check, ignored: NodeProto, what: str) -> None:
    assert check(model(node("Relu", "x"), ignored).SerializeToString()) == (
        f"Unsupported: TensorRT 8.5.3 does not support the operator {ignored.op_type} of node 'one' as the "
        f"model uses it: it ignores {what}. Export the model with opset 17 or an earlier one, or use "
        "TensorRT 10 or newer"
    )


@pytest.mark.parametrize("read", READ)
def test_what_the_parser_reads_is_accepted(check: Check, read: NodeProto) -> None:
    assert check(model(read, read).SerializeToString()) == ""


def test_graphs_and_functions_within_are_checked(check: Check) -> None:
    ignored = node("ReduceMax", "x", "axes")
    graph = model(ignored).graph
    branches = node("If", "x", then_branch=model(node("Relu", "x")).graph, else_branch=graph)
    assert "ReduceMax of node 'one'" in check(model(branches).SerializeToString())
    many = node("Relu", "x")
    many.attribute.append(helper.make_attribute("graphs", [model(node("Relu", "x")).graph, graph]))
    assert "ReduceMax of node 'one'" in check(model(many).SerializeToString())
    deeper = model(node("Loop", "x", body=model(branches).graph))
    assert "ReduceMax of node 'one'" in check(deeper.SerializeToString())
    opset = [helper.make_opsetid("", 18)]
    with_function = model(node("Relu", "x"))
    with_function.functions.append(helper.make_function("f", "f", ["x"], ["y"], [ignored], opset))
    assert "ReduceMax of node 'one'" in check(with_function.SerializeToString())


def test_damaged_files_are_refused_or_accepted(check: Check) -> None:
    whole = model(*[ignored for ignored, _ in IGNORED], *READ).SerializeToString()
    numbers = random.Random(5)
    kinds = set()
    for _ in range(FILES):
        file = bytearray(whole[: numbers.randrange(len(whole) + 1)])
        for _ in range(numbers.randrange(4)):
            if file:
                file[numbers.randrange(len(file))] = numbers.randrange(256)
        kinds.add(check(bytes(file)).partition(":")[0])
    assert kinds == {"", "Unsupported", "InvalidInput"}
