"""Models and uploads for tests of the console."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.server import Server


def large_model(floats: int = 1_000_000) -> bytes:
    """y = x + w, with `floats` weights."""
    weights = numpy_helper.from_array(np.ones(floats, np.float32), "w")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, floats])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, floats])
    return _model(
        helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "large", [x], [y], [weights])
    )


def negative(x_name: str = "x", y_name: str = "y", shape: tuple[int | str, ...] = (1, 4)) -> bytes:
    """y = -x."""
    x = helper.make_tensor_value_info(x_name, TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info(y_name, TensorProto.FLOAT, shape)
    return _model(helper.make_graph([helper.make_node("Neg", [x_name], [y_name])], "negative", [x], [y]))


def _model(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def upload(server: Server, plan: bytes, name: str, **options: str) -> int:
    """Upload over the API; return the engine's ID."""
    added = server.client.post("/engines", params={"name": name, **options}, content=plan)
    added.raise_for_status()
    return int(added.json()["id"])
