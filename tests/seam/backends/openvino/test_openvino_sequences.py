"""Tests of requests that select an item of a sequence within the model."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime_ext
from tests.seam.conftest import Harness
from tests.seam.models import write_onnx

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Specs = dict[str, tuple[int, list[int | str] | None]]
node = helper.make_node


def test_a_request_can_only_choose_existing_items_of_a_sequence(harness: Harness, tmp_path: Path) -> None:
    nodes = [node("SequenceConstruct", ["x", "z", "x"], ["s"]), node("SequenceAt", ["s", "i"], ["y"])]
    inputs: Specs = {"x": (FLOAT, ["a"]), "z": (FLOAT, ["b"]), "i": (INT64, [])}
    plan = write_onnx(tmp_path / "m.plan", nodes, inputs, {"y": (FLOAT, None)})
    engine = harness.load_file(plan, instances=1)
    plan.unlink()
    x, z = np.float32([1, 2]), np.float32([3])
    for position in (0, 1, 2, -1, -2, -3):
        answer = harness.infer(engine, x=x, z=z, i=np.int64(position))["y"]
        assert np.array_equal(answer, (x, z, x)[position])
    for position in (3, -4, 2**31 - 1):
        (refused,) = harness.wait(harness.submit(engine, x=x, z=z, i=np.int64(position)))
        assert refused.kind == "InvalidInput"
        assert f"'i' has the value {position}" in refused.message
        assert "only those from -3 to 2 for a sequence of 3" in refused.message


def test_the_only_item_of_a_sequence_is_the_first_and_the_last(harness: Harness, tmp_path: Path) -> None:
    nodes = [node("SequenceConstruct", ["x"], ["s"]), node("SequenceAt", ["s", "i"], ["y"])]
    inputs: Specs = {"x": (FLOAT, ["a"]), "i": (INT64, [])}
    engine = harness.load_file(write_onnx(tmp_path / "m.plan", nodes, inputs, {"y": (FLOAT, None)}))
    x = np.float32([1, 2])
    for position in (0, -1):
        assert np.array_equal(harness.infer(engine, x=x, i=np.int64(position))["y"], x)
    for position in (1, -2):
        (refused,) = harness.wait(harness.submit(engine, x=x, i=np.int64(position)))
        assert refused.kind == "InvalidInput"


@pytest.mark.parametrize("position", [2, -3])
def test_a_constant_position_outside_the_sequence_is_refused_at_load(
    harness: Harness, tmp_path: Path, position: int
) -> None:
    nodes = [node("SequenceConstruct", ["x", "x"], ["s"]), node("SequenceAt", ["s", "i"], ["y"])]
    at = numpy_helper.from_array(np.int64(position), "i")
    plan = write_onnx(tmp_path / "m.plan", nodes, {"x": (FLOAT, ["a"])}, {"y": (FLOAT, None)}, [at])
    with pytest.raises(runtime_ext.Error, match=f"position {position} is outside a sequence of length 2"):
        harness.load_file(plan)
