"""A model with a loop that may never end."""

from collections.abc import Sequence

from onnx import TensorProto, helper

FOREVER = 2**31 - 1  # iterations; OpenVINO counts in 32 bits


def looping_plan(shape: Sequence[int | str], times: int | None = None) -> bytes:
    """y is x plus `times`, added one at a time; None: the request says how often, in the input `times`."""
    scalar, truth = (TensorProto.INT64, []), (TensorProto.BOOL, [])
    number = (TensorProto.FLOAT, shape)

    def info(name: str, of: tuple[int, Sequence[int | str]]) -> object:
        return helper.make_tensor_value_info(name, *of)

    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["goes"]), helper.make_node("Add", ["v", "one"], ["w"])],
        "body",
        [info("i", scalar), info("go", truth), info("v", number)],
        [info("goes", truth), info("w", number)],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    always = helper.make_tensor("always", TensorProto.BOOL, [], [True])
    fixed = [] if times is None else [helper.make_tensor("times", TensorProto.INT64, [], [times])]
    graph = helper.make_graph(
        [helper.make_node("Loop", ["times", "always", "x"], ["y"], body=body)],
        "loop",
        [*([] if fixed else [info("times", scalar)]), info("x", number)],
        [info("y", number)],
        [always, *fixed],
    )
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
