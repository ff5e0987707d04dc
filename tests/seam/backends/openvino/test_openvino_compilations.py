"""Tests that the model is recompiled after an execution breaks off in its middle, but not without limit."""

from pathlib import Path

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, TensorProto, helper

import runtime_ext
from tests.seam.conftest import Harness
from tests.seam.models import as_blob, write_onnx
from tests.waiting import wait_until

FLOAT, BOOL = TensorProto.FLOAT, TensorProto.BOOL
node = helper.make_node

GOOD = {
    "x": np.float32([1, 2, 3]),
    "keep": np.array([True, False, True]),
    "z": np.float32([1, 1]),
}
UNFIT = {**GOOD, "keep": np.array([True, True, True])}
"""A request that breaks off: the number of kept elements is known only in the middle, where no guard
checks."""


def picking(path: Path) -> Path:
    """Make a model of y = relu(x[keep] + z)."""
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
    return write_onnx(path, nodes, inputs, {"y": (FLOAT, ["m"])})


@pytest.fixture
def engine(harness: Harness, tmp_path: Path) -> int:
    return harness.load_file(picking(tmp_path / "m.plan"), instances=1)


@pytest.mark.parametrize("threads", [1, 2])
def test_answers_are_right_again_after_an_execution_breaks_off(
    harness: Harness, tmp_path: Path, threads: int
) -> None:
    engine = harness.load_file(picking(tmp_path / "m.plan"), instances=1, threads=threads)
    for _ in range(3):
        (refused,) = harness.wait(harness.submit(engine, **UNFIT))
        assert refused.kind == "InvalidInput"
        assert harness.infer(engine, **GOOD)["y"].tolist() == [2, 4]


def test_a_blob_is_right_again_after_an_execution_breaks_off(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(as_blob(picking(tmp_path / "m.onnx"), tmp_path / "m.plan"), instances=1)
    model = harness.runtime.engine(engine)
    assert [tensor.name for tensor in model.inputs] == ["x", "keep", "z"]
    (tmp_path / "m.plan").rename(tmp_path / "gone.plan")
    (refused,) = harness.wait(harness.submit(engine, **UNFIT))
    assert refused.kind == "InvalidInput"
    (unavailable,) = harness.wait(harness.submit(engine, **GOOD))
    assert (unavailable.kind, "could not be recompiled" in unavailable.message) == ("Unavailable", True)
    (tmp_path / "gone.plan").rename(tmp_path / "m.plan")
    assert harness.infer(engine, **GOOD)["y"].tolist() == [2, 4]


def test_a_model_with_dynamic_shapes_only_in_a_branch_stops_serving_after_it_breaks_off(
    harness: Harness, tmp_path: Path
) -> None:
    """y is the sum of x[keep] + z or of x. The plan is gone, so that the model cannot be recompiled."""

    def branch(name: str, *nodes: NodeProto) -> GraphProto:
        return helper.make_graph(
            list(nodes), name, [], [helper.make_tensor_value_info(f"{name}_out", FLOAT, [1])]
        )

    then = branch(
        "then",
        node("Compress", ["x", "keep"], ["kept"], axis=0),
        node("Add", ["kept", "z"], ["sum"]),
        node("ReduceSum", ["sum"], ["then_out"], keepdims=1),
    )
    otherwise = branch("else", node("ReduceSum", ["x"], ["else_out"], keepdims=1))
    inputs: dict[str, tuple[int, list[int | str] | None]] = {
        "x": (FLOAT, [3]),
        "keep": (BOOL, [3]),
        "z": (FLOAT, [2]),
        "go": (BOOL, []),
    }
    plan = write_onnx(
        tmp_path / "m.plan",
        [node("If", ["go"], ["y"], then_branch=then, else_branch=otherwise)],
        inputs,
        {"y": (FLOAT, [1])},
    )
    engine = harness.load_file(plan, instances=1)
    plan.unlink()
    go = np.array(True)
    assert harness.infer(engine, **GOOD, go=go)["y"].tolist() == [6]
    (refused,) = harness.wait(harness.submit(engine, **UNFIT, go=go))
    assert refused.kind == "InvalidInput"
    (unavailable,) = harness.wait(harness.submit(engine, **GOOD, go=go))
    assert unavailable.kind == "Unavailable"


@pytest.mark.parametrize("as_plan", ["onnx", "blob"])
def test_no_two_instances_run_in_one_graph_that_may_break_off(
    harness: Harness, tmp_path: Path, as_plan: str
) -> None:
    plan = picking(tmp_path / "m.onnx")
    if as_plan == "blob":
        plan = as_blob(plan, tmp_path / "m.blob")
    for threads, most in ((1, 1), (2, 2)):
        info = harness.runtime.engine(harness.load_file(plan, instances=7, threads=threads))
        assert info.instances == most
        assert info.instances <= int(info.properties["streams"])


def test_a_client_that_keeps_breaking_off_executions_causes_no_endless_compilations(
    harness: Harness, engine: int
) -> None:
    endings = []
    while "Unavailable" not in endings and len(endings) < 1000:
        (ended,) = harness.wait(harness.submit(engine, **UNFIT))
        endings.append(ended.kind)
    assert set(endings) == {"InvalidInput", "Unavailable"}
    assert endings.count("InvalidInput") > 5
    assert "must then be recompiled: this will happen in " in ended.message

    def answer() -> runtime_ext.Completion:
        return harness.wait(harness.submit(engine, **GOOD))[0]

    wait_until(lambda: answer().kind is None, "the compilation that is due by then")
    assert harness.infer(engine, **GOOD)["y"].tolist() == [2, 4]
