"""Tests that a refused execution runs to its end with harmless numbers, and leaves its graph undamaged."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

import runtime_ext
from tests.seam.conftest import Harness
from tests.seam.models import slow, write_onnx
from tests.waiting import wait_until

FLOAT, INT64, INT32, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL
node = helper.make_node
Specs = dict[str, tuple[int, list[int | str] | None]]
Tensors = dict[str, np.ndarray]


class Case(NamedTuple):
    """A model, a request that it accepts, and the changes that make a guard refuse it."""

    nodes: list[NodeProto]
    inputs: Specs
    good: Tensors
    bad: Tensors
    constants: Mapping[str, np.ndarray] = MappingProxyType({})


X = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
ROWS: Specs = {"x": (FLOAT, ["n", "m"])}


def sized(operator: str, good: list[int], bad: list[int], **attributes: Any) -> Case:
    """Make a case of y = operator(x, sizes) for a vector x."""
    inputs: Specs = {"x": (FLOAT, ["n"]), "sizes": (INT64, [len(good)])}
    return Case(
        [node(operator, ["x", "sizes"], ["y"], **attributes)],
        inputs,
        {"x": np.float32([1, 2, 3, 4]), "sizes": np.int64(good)},
        {"sizes": np.int64(bad)},
    )


def divided(operator: str) -> Case:
    spec: tuple[int, list[int | str]] = (INT32, ["n"])
    return Case(
        [node(operator, ["a", "b"], ["y"])],
        {"a": spec, "b": spec},
        {"a": np.int32([7, 9]), "b": np.int32([2, 3])},
        {"b": np.int32([2, 0])},
    )


def recurrent(operator: str, gates: int, bad: int = 5) -> Case:
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.random((1, gates * 3, 2), np.float32),
        "r": rng.random((1, gates * 3, 3), np.float32),
    }
    return Case(
        [node(operator, ["x", "w", "r", "", "lengths"], ["y", "last"], hidden_size=3)],
        {"x": (FLOAT, ["t", "n", 2]), "lengths": (INT32, ["n"])},
        {"x": rng.random((4, 2, 2), np.float32), "lengths": np.int32([4, 2])},
        {"lengths": np.int32([4, bad])},
        constants,
    )


def reversed_by(bad: list[int]) -> Case:
    return Case(
        [node("ReverseSequence", ["x", "lengths"], ["y"], time_axis=0, batch_axis=1)],
        {**ROWS, "lengths": (INT64, ["m"])},
        {"x": X, "lengths": np.int64([3, 2])},
        {"lengths": np.int64(bad)},
    )


def kept(*after: NodeProto, **constants: np.ndarray) -> Case:
    """Make a case of operations on the elements of x that a request keeps."""
    return Case(
        [node("Compress", ["x", "keep"], ["kept"], axis=0), *after],
        {"x": (FLOAT, ["n"]), "keep": (BOOL, ["n"])},
        {"x": np.float32([1, 4, 3, 2]), "keep": np.array([True, False, True, True])},
        {"keep": np.zeros(4, bool)},
        constants,
    )


def info(name: str, element_type: int, shape: list[int | str] | None) -> Any:
    return helper.make_tensor_value_info(name, element_type, shape)


def branch(name: str, *nodes: NodeProto) -> GraphProto:
    return helper.make_graph(list(nodes), name, [], [info(f"{name}_out", FLOAT, None)])


IN_BRANCH = node(
    "If",
    ["go"],
    ["y"],
    then_branch=branch("then", node("Gather", ["x", "i"], ["then_out"], name="picks")),
    else_branch=branch("else", node("Relu", ["x"], ["else_out"])),
)


def in_loop(*nodes: NodeProto) -> NodeProto:
    """Make a loop where y is the last `picked` of `trips` iterations."""
    body = helper.make_graph(
        [*nodes, node("Identity", ["go_on"], ["go_on_out"])],
        "body",
        [info("iteration", INT64, []), info("go_on", BOOL, []), info("before", FLOAT, ["a", "b"])],
        [info("go_on_out", BOOL, []), info("picked", FLOAT, ["a", "b"])],
    )
    return node("Loop", ["trips", "", "x"], ["y"], body=body)


PICK = node("Gather", ["before", "i"], ["picked"])
PICKING: Specs = {**ROWS, "i": (INT64, ["k"]), "trips": (INT64, [])}
PICKED: Tensors = {"x": X, "i": np.int64([0, 2, 1]), "trips": np.int64(2)}
BEYOND: Tensors = {"i": np.int64([0, 3, 1])}

CASES: dict[str, Case] = {
    "a divisor": divided("Div"),
    "a divisor for a rest": divided("Mod"),
    "lengths of an LSTM": recurrent("LSTM", 4),
    "lengths of a GRU": recurrent("GRU", 3),
    "lengths of an RNN": recurrent("RNN", 1),
    "a negative length of an LSTM": recurrent("LSTM", 4, -1),
    "a negative length of a GRU": recurrent("GRU", 3, -1),
    "lengths to reverse": reversed_by([4, 2]),
    "a negative length to reverse": reversed_by([-1, 2]),
    "images of regions": Case(
        [node("RoiAlign", ["x", "regions", "images"], ["y"], output_height=1, output_width=1)],
        {"x": (FLOAT, ["n", "c", "h", "w"]), "regions": (FLOAT, ["r", 4]), "images": (INT64, ["r"])},
        {
            "x": np.ones((1, 1, 4, 4), np.float32),
            "regions": np.float32([[0, 0, 2, 2]]),
            "images": np.int64([0]),
        },
        {"images": np.int64([1])},
    ),
    "a negative image of a region": Case(
        [node("RoiAlign", ["x", "regions", "images"], ["y"], output_height=1, output_width=1)],
        {"x": (FLOAT, ["n", "c", "h", "w"]), "regions": (FLOAT, ["r", 4]), "images": (INT64, ["r"])},
        {
            "x": np.ones((1, 1, 4, 4), np.float32),
            "regions": np.float32([[0, 0, 2, 2]]),
            "images": np.int64([0]),
        },
        {"images": np.int64([-1])},
    ),
    "the greatest of none": kept(node("ArgMax", ["kept"], ["y"], axis=0)),
    "how many are kept as a divisor": kept(
        node("Relu", ["kept"], ["positive"]),
        node("Shape", ["positive"], ["count"]),
        node("Cast", ["count"], ["how_many"], to=INT32),
        node("Div", ["sum", "how_many"], ["share"]),
        node("Cast", ["share"], ["y"], to=FLOAT),
        sum=np.int32([7]),
    ),
    "more than there are": kept(node("TopK", ["kept", "k"], ["v", "y"]), k=np.int64([2])),
    "how many a request wants": Case(
        [node("TopK", ["x", "k"], ["v", "y"], axis=0)],
        {**ROWS, "k": (INT64, [1])},
        {"x": X, "k": np.int64([2])},
        {"k": np.int64([4])},
    ),
    "less than none that a request wants": Case(
        [node("TopK", ["x", "k"], ["v", "y"], axis=0)],
        {**ROWS, "k": (INT64, [1])},
        {"x": X, "k": np.int64([2])},
        {"k": np.int64([-1])},
    ),
    "Tile": sized("Tile", [3], [10**9]),
    "Tile less than not at all": sized("Tile", [3], [-1000]),
    "Expand": sized("Expand", [3, 4], [10**9, 4]),
    "Pad": sized("Pad", [1, 2], [10**9, 10**9]),
    "Pad after": sized("Pad", [0, 2], [0, 10**9]),
    "Pad away": sized("Pad", [0, 2], [-5, -5]),
    "Slice without a step": Case(
        [node("Slice", ["x", "from", "to", "axes", "steps"], ["y"])],
        {**ROWS, "steps": (INT64, [1])},
        {"x": X, "steps": np.int64([2])},
        {"steps": np.int64([0])},
        {"from": np.int64([0]), "to": np.int64([3]), "axes": np.int64([0])},
    ),
    "Slice along no axis": Case(
        [node("Slice", ["x", "from", "to", "axes"], ["y"])],
        {**ROWS, "axes": (INT64, [1])},
        {"x": X, "axes": np.int64([1])},
        {"axes": np.int64([2])},
        {"from": np.int64([0]), "to": np.int64([1])},
    ),
    "Resize by a negative factor": Case(
        [node("Resize", ["x", "", "factors"], ["y"], mode="nearest")],
        {"x": (FLOAT, [1, 1, "h", "w"]), "factors": (FLOAT, [4])},
        {"x": np.ones((1, 1, 2, 2), np.float32), "factors": np.float32([1, 1, 2, 2])},
        {"factors": np.float32([1, 1, 2, -1])},
    ),
    "Resize by no number": Case(
        [node("Resize", ["x", "", "factors"], ["y"], mode="nearest")],
        {"x": (FLOAT, [1, 1, "h", "w"]), "factors": (FLOAT, [4])},
        {"x": np.ones((1, 1, 2, 2), np.float32), "factors": np.float32([1, 1, 2, 2])},
        {"factors": np.float32([1, 1, 2, np.nan])},
    ),
    "DFT": Case(
        [node("DFT", ["x", "length"], ["y"], axis=1)],
        {"x": (FLOAT, [1, "n", 1]), "length": (INT64, [])},
        {"x": np.ones((1, 4, 1), np.float32), "length": np.int64(4)},
        {"length": np.int64(10**9)},
    ),
    "ConstantOfShape": Case(
        [node("ConstantOfShape", ["sizes"], ["y"])],
        {"sizes": (INT64, [2])},
        {"sizes": np.int64([2, 3])},
        {"sizes": np.int64([10**6, 10**6])},
    ),
    "OneHot": Case(
        [node("OneHot", ["i", "depth", "values"], ["y"])],
        {"i": (INT64, ["n"]), "depth": (INT64, [1])},
        {"i": np.int64([0, 2]), "depth": np.int64([3])},
        {"depth": np.int64([10**9])},
        {"values": np.float32([0, 1])},
    ),
    "Resize": Case(
        [node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest")],
        {"x": (FLOAT, [1, 1, "h", "w"]), "sizes": (INT64, [4])},
        {"x": np.ones((1, 1, 2, 2), np.float32), "sizes": np.int64([1, 1, 4, 4])},
        {"sizes": np.int64([1, 1, 10**5, 10**5])},
    ),
    **{
        f"Range {what}": Case(
            [node("Range", ["start", "stop", "step"], ["y"])],
            {name: (INT64, []) for name in ("start", "stop", "step")},
            {"start": np.int64(0), "stop": np.int64(5), "step": np.int64(1)},
            bad,
        )
        for what, bad in {
            "to far away": {"stop": np.int64(10**9)},
            "from far away": {"start": np.int64(-(10**9))},
            "without a step": {"step": np.int64(0)},
        }.items()
    },
    "indices in a branch": Case(
        [IN_BRANCH],
        {**ROWS, "i": (INT64, ["k"]), "go": (BOOL, [])},
        {"x": X, "i": np.int64([0, 2]), "go": np.array(True)},
        {"i": np.int64([0, 3])},
    ),
    "indices in a loop": Case([in_loop(PICK)], PICKING, PICKED, BEYOND),
    "indices in a loop that ends soon": Case(
        [in_loop(PICK)],
        {name: spec for name, spec in PICKING.items() if name != "trips"},
        {name: array for name, array in PICKED.items() if name != "trips"},
        BEYOND,
        {"trips": np.int64(2)},
    ),
    "indices in a loop without end": Case(
        [in_loop(PICK)], PICKING, PICKED, {**BEYOND, "trips": np.int64(2**31 - 1)}
    ),
    "indices in a branch in a loop": Case(
        [
            in_loop(
                node(
                    "If",
                    ["go"],
                    ["picked"],
                    then_branch=branch("then", node("Gather", ["before", "i"], ["then_out"], name="picks")),
                    else_branch=branch("else", node("Relu", ["before"], ["else_out"])),
                )
            )
        ],
        {**PICKING, "go": (BOOL, [])},
        {**PICKED, "go": np.array(True)},
        BEYOND,
    ),
    "a size in a loop": Case(
        [in_loop(node("Tile", ["before", "i"], ["picked"]))],
        {**ROWS, "i": (INT64, [2]), "trips": (INT64, [])},
        {"x": X, "i": np.int64([1, 2]), "trips": np.int64(2)},
        {"i": np.int64([10**5, 10**5])},
    ),
}


def write(path: Path, case: Case) -> Path:
    constants = [numpy_helper.from_array(array, name) for name, array in case.constants.items()]
    element_type = next(
        (t for name, t in (("a", INT32), ("start", INT64)) if name in case.inputs),
        INT64 if any("v" in n.output or n.op_type == "ArgMax" for n in case.nodes) else FLOAT,
    )
    return write_onnx(path, case.nodes, case.inputs, {"y": (element_type, None)}, constants)


def load_once(harness: Harness, path: Path, case: Case) -> int:
    """Load a model, then remove its plan, so that it cannot be recompiled."""
    engine = harness.load_file(write(path, case), instances=1)
    path.unlink()
    return engine


def test_a_failure_caused_by_the_harmless_numbers_is_reported_as_the_refusal(
    harness: Harness, tmp_path: Path
) -> None:
    """A range of one number, instead of the requested one, does not fit the tensor that it is added to."""
    inputs: Specs = {"start": (INT64, []), "stop": (INT64, []), "z": (INT64, ["n", 3])}
    nodes = [
        node("Range", ["start", "stop", "step"], ["numbers"]),
        node("Reshape", ["numbers", "shape"], ["rows"]),
        node("Add", ["rows", "z"], ["y"]),
    ]
    constants = {"step": np.int64(1), "shape": np.int64([-1, 3])}
    plan = write_onnx(
        tmp_path / "m.plan",
        nodes,
        inputs,
        {"y": (INT64, ["n", 3])},
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    engine = harness.load_file(plan, instances=1)
    z = np.ones((2, 3), np.int64)
    for _ in range(2):
        (refused,) = harness.wait(harness.submit(engine, start=np.int64(0), stop=np.int64(10**9), z=z))
        assert refused.kind == "InvalidInput"
        assert "(Range) gets the start 0, the stop 1e+09 and the step 1" in refused.message
        answer = harness.infer(engine, start=np.int64(0), stop=np.int64(6), z=z)["y"]
        assert answer.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("name", CASES)
def test_a_refused_request_leaves_the_graph_as_it_was(harness: Harness, tmp_path: Path, name: str) -> None:
    case = CASES[name]
    engine = load_once(harness, tmp_path / "m.plan", case)
    before = harness.infer(engine, **case.good)["y"].copy()
    for _ in range(2):
        (refused,) = harness.wait(harness.submit(engine, **{**case.good, **case.bad}))
        assert refused.kind == "InvalidInput", refused.message
        (again,) = harness.wait(harness.submit(engine, **case.good))
        assert again.kind is None, again.message
        assert np.array_equal(harness.infer(engine, **case.good)["y"], before)


def test_a_loop_whose_request_has_run_out_of_time_ends_and_leaves_the_graph_as_it_was(
    still_harness: Harness, clock: runtime_ext.ManualClock, tmp_path: Path
) -> None:
    turning = Case([in_loop(node("Neg", ["before"], ["picked"]))], {**ROWS, "trips": (INT64, [])}, {}, {})
    engine = load_once(still_harness, tmp_path / "m.plan", turning)
    for _ in range(2):
        until = time.process_time() + 0.2
        endless = still_harness.submit(engine, timeout_ns=1000, x=X, trips=np.int64(2**31 - 1))
        wait_until(lambda until=until: time.process_time() > until, "the loop computes")
        clock.advance(1000)
        (completion,) = still_harness.wait(endless)
        assert completion.kind == "DeadlineExceeded"
        assert np.array_equal(still_harness.infer(engine, x=X, trips=np.int64(3))["y"], -X)


def test_a_request_that_runs_out_of_time_leaves_the_graph_as_it_was(
    still_harness: Harness, clock: runtime_ext.ManualClock, tmp_path: Path
) -> None:
    plan = slow(tmp_path / "m.plan")
    engine = still_harness.load_file(plan, instances=1)
    plan.unlink()
    x = np.ones((256, 512), np.float32)
    late = still_harness.submit(engine, timeout_ns=1000, x=x)
    wait_until(lambda: still_harness.stats(engine).instances_busy == 1, "it executes")
    clock.advance(1000)
    (completion,) = still_harness.wait(late)
    assert completion.kind == "DeadlineExceeded"
    assert np.array_equal(still_harness.infer(engine, x=x[:1])["y"], x[:1])
