"""After an execution that breaks off in its middle, the model is compiled anew, and not without end."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import runtime_ext
from tests.seam.conftest import Harness
from tests.seam.models import write_onnx
from tests.waiting import wait_until

FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL
node = helper.make_node

GOOD = {
    "x": np.float32([1, 2, 3]),
    "keep": np.array([True, False, True]),
    "z": np.float32([1, 1]),
}
UNFIT = {**GOOD, "keep": np.array([True, True, True])}
"""Breaks off: how many elements are kept is known only in the middle, and no guard looks at it."""


@pytest.fixture
def engine(harness: Harness, tmp_path: Path) -> int:
    """y = relu(x[keep] + z)."""
    nodes = [
        node("Compress", ["x", "keep"], ["kept"], axis=0),
        node("Add", ["kept", "z"], ["sum"]),
        node("Relu", ["sum"], ["y"]),
    ]
    inputs: dict[str, tuple[int, list[int | str] | None]] = {
        "x": (FLOAT, ["n"]),
        "keep": (BOOL, ["n"]),
        "z": (FLOAT, ["k"]),
    }
    plan = write_onnx(tmp_path / "m.plan", nodes, inputs, {"y": (FLOAT, None)})
    return harness.load_file(plan, instances=1)


def test_what_breaks_off_in_the_middle_is_right_again_afterwards(harness: Harness, engine: int) -> None:
    for _ in range(3):
        (refused,) = harness.wait(harness.submit(engine, **UNFIT))
        assert refused.kind == "InvalidInput"
        assert harness.infer(engine, **GOOD)["y"].tolist() == [2, 4]


def test_who_keeps_breaking_executions_off_does_not_have_the_model_compiled_for_ever(
    harness: Harness, engine: int
) -> None:
    endings = []
    while "Unavailable" not in endings and len(endings) < 1000:
        (ended,) = harness.wait(harness.submit(engine, **UNFIT))
        endings.append(ended.kind)
    assert set(endings) == {"InvalidInput", "Unavailable"}
    assert endings.count("InvalidInput") > 5
    assert "must then be compiled anew: it will be again in " in ended.message

    def answer() -> runtime_ext.Completion:
        return harness.wait(harness.submit(engine, **GOOD))[0]

    wait_until(lambda: answer().kind is None, "the compilation that has been earned meanwhile")
    assert harness.infer(engine, **GOOD)["y"].tolist() == [2, 4]
