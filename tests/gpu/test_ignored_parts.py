"""Models with parts that TensorRT 8's parser ignores: it would build plans that answer wrongly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

import runtime_ext
from tests.gpu.real import DEVICE, RealTensorRt, major_of

pytestmark = pytest.mark.gpu
AXES = numpy_helper.from_array(np.array([2, 3], np.int64), "axes")
INDICES = numpy_helper.from_array(np.zeros((1, 2, 4, 4), np.int64), "indices")
UPDATES = numpy_helper.from_array(np.ones((1, 2, 4, 4), np.float32), "updates")
SCALES = numpy_helper.from_array(np.array([1, 1, 0.5, 0.5], np.float32), "scales")

Node = tuple[str, list[str], dict[str, Any], str]
IGNORED: list[Node] = [
    ("ReduceMean", ["x", "axes"], {}, "axes as an input"),
    ("ReduceL2", ["x", "axes"], {"keepdims": 0}, "axes as an input"),
    ("ScatterElements", ["x", "indices", "updates"], {"reduction": "add"}, "the attribute reduction"),
    ("Resize", ["x", "", "scales"], {"mode": "linear", "antialias": 1}, "the attribute antialias"),
]
READ: list[Node] = [
    ("ReduceMean", ["x"], {}, ""),
    ("ReduceSum", ["x", "axes"], {}, ""),
    ("ScatterElements", ["x", "indices", "updates"], {"reduction": "none"}, ""),
    ("Resize", ["x", "", "scales"], {"mode": "linear", "antialias": 0}, ""),
]


def build(real: RealTensorRt, folder: Path, node: Node) -> Path:
    operator, inputs, attributes, _ = node
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"], name="one", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [each for each in (AXES, INDICES, UPDATES, SCALES) if each.name in inputs],
    )
    model, plan = folder / "model.onnx", folder / "model.plan"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), model)
    options = runtime_ext.BuildOptions(device=str(DEVICE))
    real.runtime.build(real.backend, str(model), str(plan), options, runtime_ext.BuildProgress())
    return plan


@pytest.mark.parametrize("node", IGNORED, ids=[node[0] for node in IGNORED])
def test_a_model_whose_answers_would_be_wrong_is_refused(
    real: RealTensorRt, tmp_path: Path, node: Node
) -> None:
    if major_of(real.backend) >= 10:
        pytest.skip("the parsers of TensorRT 10 and later ignore nothing")
    with pytest.raises(runtime_ext.Error) as refused:
        build(real, tmp_path, node)
    assert refused.value.kind == "Unsupported"
    assert f"the operator {node[0]} of node 'one' as the model uses it: it ignores {node[3]}. " in str(
        refused.value
    )
    assert "opset 17" in str(refused.value)


@pytest.mark.parametrize("node", READ, ids=[node[0] for node in READ])
def test_a_model_of_opset_18_that_tensorrt_8_reads_is_built(
    real: RealTensorRt, tmp_path: Path, node: Node
) -> None:
    assert build(real, tmp_path, node).stat().st_size > 0
