"""Tests that a model with state starts fresh for each request."""

from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as ops

from tests.seam.conftest import Harness


def remembering(path: Path) -> Path:
    """Make a blob where y is the sum of x and all earlier x."""
    x = ops.parameter([-1, 2], np.float32, "x")
    sum_before = ops.read_value(ops.constant(np.zeros((1, 2), np.float32)), "sum", np.float32, [1, 2])
    sum_of_all = ops.add(x, sum_before)
    sum_of_all.output(0).set_names({"y"})
    x.output(0).set_names({"x"})
    keep = ops.assign(ops.reduce_sum(sum_of_all, np.int64([0]), keep_dims=True), "sum")
    model = openvino.Model([ops.result(sum_of_all)], [keep], [x])
    exported = openvino.Core().compile_model(model, "CPU").export_model()
    path.write_bytes(exported if isinstance(exported, bytes) else exported.getvalue())
    return path


@pytest.mark.parametrize("instances", [1, 2])
def test_no_request_sees_the_state_of_the_previous_one(
    harness: Harness, tmp_path: Path, instances: int
) -> None:
    engine = harness.load_file(remembering(tmp_path / "m.plan"), instances=instances)
    for value in (1, 2, 3, 4):
        x = np.full((1, 2), value, np.float32)
        assert np.array_equal(harness.infer(engine, x=x)["y"], x)
