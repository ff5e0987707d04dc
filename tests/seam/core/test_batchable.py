"""Tests of which engines may join requests, as far as their backend knows before there are requests."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime_ext
from tests.seam.conftest import Harness
from tests.seam.models import write_onnx

F, WHOLE = TensorProto.FLOAT, TensorProto.INT64
Spec = tuple[int, list[int | str] | None]
node = helper.make_node


def constant(name: str, value: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


BOXES: dict[str, Spec] = {"boxes": (F, ["b", "n", 4]), "scores": (F, ["b", 1, "n"])}
FOUND = [node("NonZero", ["x"], ["at"]), node("Transpose", ["at"], ["y"], perm=[1, 0])]
REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, Spec], Spec, list[TensorProto], str]] = {
    "one item per nonzero element": (FOUND, {"x": (F, ["b", 3])}, (WHOLE, ["k", 2]), [], "depends on values"),
    "one item per nonzero element, with another dynamic dimension": (
        FOUND,
        {"x": (F, ["b", "s"])},
        (WHOLE, ["k", 2]),
        [],
        "depends on values",
    ),
    "one item per good box": (
        [node("NonMaxSuppression", ["boxes", "scores", "most"], ["y"])],
        BOXES,
        (WHOLE, ["k", 3]),
        [constant("most", np.array([8], np.int64))],
        "depends on values",
    ),
    "two for each": (
        [node("Concat", ["x", "x"], ["y"], axis=0)],
        {"x": (F, ["b", 3])},
        (F, ["k", 3]),
        [],
        r"has shape \[4, 3\] for a batch of 2",
    ),
    "one for all": (
        [node("ReduceSum", ["x", "axes"], ["y"], keepdims=1)],
        {"x": (F, ["b", 3])},
        (F, ["k", 3]),
        [constant("axes", np.array([0], np.int64))],
        "output 'y'",
    ),
}
SERVED: dict[str, tuple[list[onnx.NodeProto], dict[str, Spec], Spec, list[TensorProto]]] = {
    "reshaped by numbers from its own shape": (
        [
            node("Shape", ["x"], ["shape"]),
            node("Gather", ["shape", "zero"], ["batch"]),
            node("Concat", ["batch", "rest"], ["wanted"], axis=0),
            node("Reshape", ["x", "wanted"], ["y"]),
        ],
        {"x": (F, ["b", 2, 6])},
        (F, ["b", 12]),
        [constant("zero", np.array([0], np.int64)), constant("rest", np.array([-1], np.int64))],
    ),
    "with two dynamic dimensions": (
        [node("Flatten", ["x"], ["y"])],
        {"x": (F, ["b", "s", 4])},
        (F, ["b", "k"]),
        [],
    ),
    "with a dynamic dimension that accepts few sizes": (
        [node("Add", ["x", "position"], ["y"])],
        {"x": (F, ["b", "s", 4])},
        (F, ["b", 7, 4]),
        [constant("position", np.ones((7, 4), np.float32))],
    ),
    "with an output whose other dimension depends on values": (
        [
            node("NonZero", ["row"], ["at"]),
            node("Gather", ["x", "at"], ["g"], axis=1),
            node("Squeeze", ["g", "one"], ["y"]),
        ],
        {"x": (F, ["b", 4])},
        (F, ["b", "k"]),
        [constant("row", np.array([1, 0, 1, 1], np.float32)), constant("one", np.array([1], np.int64))],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_engine_whose_items_are_not_those_of_the_batch_is_refused(
    harness: Harness, tmp_path: Path, case: str
) -> None:
    nodes, inputs, output, initializers, why = REFUSED[case]
    plan = write_onnx(tmp_path / "m.onnx", nodes, inputs, {"y": output}, initializers)
    with pytest.raises(runtime_ext.Error, match=f"{why}.*load the engine with max_batch_size 1") as refused:
        harness.load_file(plan, batch=runtime_ext.BatchOptions(max_batch_size=8))
    assert refused.value.kind == "InvalidInput"
    harness.load_file(plan)


@pytest.mark.parametrize("case", SERVED)
def test_an_engine_that_may_have_one_item_per_input_item_is_served(
    harness: Harness, tmp_path: Path, case: str
) -> None:
    nodes, inputs, output, initializers = SERVED[case]
    plan = write_onnx(tmp_path / "m.onnx", nodes, inputs, {"y": output}, initializers)
    harness.load_file(plan, batch=runtime_ext.BatchOptions(max_batch_size=8))
