"""What clients send to the openvino backend ends neither the process nor others' requests, and shows no foreign memory."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime_ext
from tests.seam.conftest import Harness, to_numpy
from tests.seam.models import write_onnx

FLOAT, INT64, INT32, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL


def refusal(harness: Harness, engine: int, **inputs: np.ndarray) -> tuple[str | None, str]:
    """How a request ends: its kind of failure and its sentence."""
    (completion,) = harness.wait(harness.submit(engine, **inputs))
    return completion.kind, completion.message


def indexing(path: Path, operator: str, free: bool, **attributes: object) -> Path:
    """y = operator(x, i, updates): one node whose indices are an input; with `free`, all its shapes are dynamic."""
    shape = ["a", "b"] if free else [3, 2]
    of_indices = ["c", 1 if "ND" in operator else "d"] if free else [2, 1 if "ND" in operator else 2]
    inputs = {"x": (FLOAT, shape), "i": (INT64, of_indices)}
    if operator.startswith("Scatter"):
        inputs["updates"] = (FLOAT, ["e", "f"] if free else [2, 2])
    node = helper.make_node(operator, list(inputs), ["y"], **attributes)
    ranks = 3 if operator == "Gather" else 2
    return write_onnx(path, [node], inputs, {"y": (FLOAT, [f"y{n}" for n in range(ranks)])})


INDEXING = [
    ("Gather", {"axis": 0}),
    ("GatherElements", {"axis": 0}),
    ("GatherND", {}),
    ("ScatterElements", {"axis": 0}),
    ("ScatterND", {}),
]


@pytest.mark.parametrize("free", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize(("operator", "attributes"), INDEXING, ids=[name for name, _ in INDEXING])
@pytest.mark.parametrize("index", [3, -4, 2**31 - 1, -(2**31), 10**9])
def test_an_index_outside_the_data_is_refused_and_the_next_request_is_right(
    harness: Harness, tmp_path: Path, operator: str, attributes: dict[str, int], free: bool, index: int
) -> None:
    engine = harness.load_file(indexing(tmp_path / "m.plan", operator, free, **attributes), instances=1)
    width = 1 if "ND" in operator else 2
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    more = {"updates": np.full((2, 2), 9, np.float32)} if operator.startswith("Scatter") else {}
    good = np.zeros((2, width), np.int64)
    good[0] = -3
    good[1] = 2
    before = harness.infer(engine, x=x, i=good, **more)["y"]
    bad = good.copy()
    bad[1, -1] = index
    kind, sentence = refusal(harness, engine, x=x, i=bad, **more)
    assert kind == "InvalidInput"
    for part in ("'i'", "node 'y'", str(index), "from -3 to 2"):
        assert part in sentence
    assert np.array_equal(harness.infer(engine, x=x, i=good, **more)["y"], before)


def counting(path: Path, *, trip_count: bool = True, start_below: bool = False) -> Path:
    """y = how often the loop ran: `m` times at most, and while the count is below `limit`."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["count_in", "one"], ["count_out"]),
            helper.make_node("Less", ["count_out", "limit"], ["go_on_out"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("iteration", INT64, []),
            helper.make_tensor_value_info("go_on_in", BOOL, []),
            helper.make_tensor_value_info("count_in", FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("go_on_out", BOOL, [1]),
            helper.make_tensor_value_info("count_out", FLOAT, [1]),
        ],
        [numpy_helper.from_array(np.float32([1]), "one")],
    )
    loop = helper.make_node("Loop", ["m" if trip_count else "", "", "zero"], ["y"], "the_loop", body=body)
    inputs: dict[str, tuple[int, list[int | str]]] = {"limit": (FLOAT, [1])}
    if trip_count:
        inputs["m"] = (INT64, [])
    zero = numpy_helper.from_array(np.float32([0]), "zero")
    return write_onnx(path, [loop], inputs, {"y": (FLOAT, [1])}, [zero])


@pytest.mark.parametrize(("trips", "runs"), [(3, 3), (1, 1), (0, 0), (-1, 0), (-(2**31), 0)])
def test_a_loop_runs_as_often_as_its_trip_count_says_and_not_at_all_below_one(
    harness: Harness, tmp_path: Path, trips: int, runs: int
) -> None:
    engine = harness.load_file(counting(tmp_path / "m.plan"), instances=1)
    answer = harness.infer(engine, m=np.int64(trips), limit=np.float32([1e30]))
    assert answer["y"].tolist() == [runs]


def test_a_loop_ends_when_its_condition_says_so(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(counting(tmp_path / "m.plan", trip_count=False), instances=1)
    assert harness.infer(engine, limit=np.float32([5]))["y"].tolist() == [5]
    bounded = harness.load_file(counting(tmp_path / "n.plan"), instances=1)
    assert harness.infer(bounded, m=np.int64(100), limit=np.float32([7]))["y"].tolist() == [7]
    assert [tensor.name for tensor in harness.runtime.engine(bounded).inputs] == ["limit", "m"]
