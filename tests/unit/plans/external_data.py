"""An ONNX model whose tensors are in files beside it."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

W = np.arange(16, dtype=np.float32).reshape(4, 4)
B = np.ones(4, np.float32)


def model() -> onnx.ModelProto:
    """y = x w + b or x w - b; the subtrahend is in a branch, and one constant in an attribute."""

    def branch(op: str) -> onnx.GraphProto:
        b = helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(B, "b"))
        node = helper.make_node(op, ["xw", "b"], ["z"])
        return helper.make_graph(
            [b, node], op, [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 4])]
        )

    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["xw"]),
        helper.make_node("If", ["c"], ["y"], then_branch=branch("Add"), else_branch=branch("Sub")),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    y = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])]
    graph = helper.make_graph(nodes, "g", inputs, y, [numpy_helper.from_array(W, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def external(folder: Path, *, one_file: bool = True, name: str = "model.onnx") -> dict[str, bytes]:
    """The files of the model with its data beside it, by their names."""
    folder.mkdir(exist_ok=True)
    onnx.save_model(
        model(),
        str(folder / name),
        save_as_external_data=True,
        all_tensors_to_one_file=one_file,
        location="weights.bin" if one_file else None,
        size_threshold=0,
        convert_attribute=True,
    )
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
