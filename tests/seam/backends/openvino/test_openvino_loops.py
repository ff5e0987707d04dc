"""Tests of loops whose number of iterations or output shapes depend on the request."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.seam.conftest import Harness
from tests.seam.models import write_onnx
from tests.waiting import wait_until

FLOAT, INT64, INT32, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL


def counting(
    path: Path, *, trip_count: bool = True, constant: int | None = None, in_branch: bool = False
) -> Path:
    """Make a model where y counts the loop's iterations: at most `m`, while the count is below `limit`.

    `trip_count`: the loop has `m`; `constant`: `m` is this number instead of an input; `in_branch`: the loop
    is in a branch of an If that is always taken.
    """
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
    constants = [numpy_helper.from_array(np.float32([0]), "zero")]
    if constant is not None:
        constants.append(numpy_helper.from_array(np.int64(constant), "m"))
    elif trip_count:
        inputs["m"] = (INT64, [])
    nodes = [loop]
    if in_branch:
        loop.output[0] = "counted"
        counted = helper.make_graph(
            [loop], "then", [], [helper.make_tensor_value_info("counted", FLOAT, [1])]
        )
        not_counted = helper.make_graph(
            [helper.make_node("Identity", ["zero"], ["none"])],
            "else",
            [],
            [helper.make_tensor_value_info("none", FLOAT, [1])],
        )
        nodes = [
            helper.make_node("Less", ["zero", "limit"], ["go"]),
            helper.make_node("If", ["go"], ["y"], then_branch=counted, else_branch=not_counted),
        ]
    return write_onnx(path, nodes, inputs, {"y": (FLOAT, [1])}, constants)


@pytest.mark.parametrize(("trips", "runs"), [(3, 3), (1, 1), (0, 0), (-1, 0), (-(2**31), 0)])
def test_a_loop_runs_as_often_as_its_trip_count_says_and_not_at_all_below_one(
    harness: Harness, tmp_path: Path, trips: int, runs: int
) -> None:
    engine = harness.load_file(counting(tmp_path / "m.plan"), instances=1)
    answer = harness.infer(engine, m=np.int64(trips), limit=np.float32([1e30]))
    assert answer["y"].tolist() == [runs]


@pytest.mark.parametrize(("trips", "runs"), [(3, 3), (0, 0), (-1, 0), (-(2**31), 0), (2000, 9)])
def test_a_trip_count_in_the_file_works_like_one_in_a_request(
    harness: Harness, tmp_path: Path, trips: int, runs: int
) -> None:
    engine = harness.load_file(counting(tmp_path / "m.plan", constant=trips), instances=1)
    assert harness.infer(engine, limit=np.float32([9]))["y"].tolist() == [runs]


def test_a_loop_ends_when_its_condition_says_so(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(counting(tmp_path / "m.plan", trip_count=False), instances=1)
    assert harness.infer(engine, limit=np.float32([5]))["y"].tolist() == [5]
    bounded = harness.load_file(counting(tmp_path / "n.plan"), instances=1)
    assert harness.infer(bounded, m=np.int64(100), limit=np.float32([7]))["y"].tolist() == [7]
    assert [tensor.name for tensor in harness.runtime.engine(bounded).inputs] == ["limit", "m"]


def joining(path: Path, nodes: list[onnx.NodeProto], size: int | None = None) -> Path:
    """Make a model where s joins the `scan` of each of `m` iterations; `v` is passed on, starting with x.

    `size` is the size of x and v; None: any.
    """
    body = helper.make_graph(
        [*nodes, helper.make_node("Identity", ["go_on"], ["go_on_out"])],
        "body",
        [
            helper.make_tensor_value_info("iteration", INT64, []),
            helper.make_tensor_value_info("go_on", BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, [size or "a"]),
        ],
        [
            helper.make_tensor_value_info("go_on_out", BOOL, []),
            helper.make_tensor_value_info("v_out", FLOAT, [size or "b"]),
            helper.make_tensor_value_info("scan", FLOAT, ["c"]),
        ],
        [numpy_helper.from_array(np.int64(n), name) for n, name in ((0, "zero"), (1, "one"))],
    )
    loop = helper.make_node("Loop", ["m", "", "x"], ["y", "s"], "the_loop", body=body)
    outputs: dict[str, tuple[int, list[int | str] | None]] = {
        "y": (FLOAT, [size or "d"]),
        "s": (FLOAT, ["e", "f"]),
    }
    return write_onnx(path, [loop], {"m": (INT64, []), "x": (FLOAT, [size or "n"])}, outputs)


GROWING = {
    "carried": [
        helper.make_node("Concat", ["v", "v"], ["v_out"], axis=0),
        helper.make_node("Identity", ["v_out"], ["scan"]),
    ],
    "counted": [
        helper.make_node("Range", ["zero", "iteration", "one"], ["numbers"]),
        helper.make_node("Cast", ["numbers"], ["scan"], to=FLOAT),
        helper.make_node("Identity", ["v"], ["v_out"]),
    ],
}


@pytest.mark.parametrize("scanned", GROWING)
def test_the_outputs_that_a_loop_joins_must_have_one_shape(
    harness: Harness, tmp_path: Path, scanned: str
) -> None:
    engine = harness.load_file(joining(tmp_path / "m.plan", GROWING[scanned]), instances=1)
    x = np.arange(1, 100, dtype=np.float32)
    for _ in range(2):
        for trips in (2, 10):
            (refused,) = harness.wait(harness.submit(engine, m=np.int64(trips), x=x))
            assert refused.kind == "InvalidInput"
            assert "(Loop) joins its iterations' outputs into 's'" in refused.message
            assert "must all be of one shape" in refused.message
        assert harness.infer(engine, m=np.int64(1), x=x)["s"].shape == (
            (1, 198) if scanned == "carried" else (1, 0)
        )


def test_the_outputs_that_a_loop_joins_must_have_one_shape_even_if_it_passes_on_one_size(
    harness: Harness, tmp_path: Path
) -> None:
    engine = harness.load_file(joining(tmp_path / "m.plan", GROWING["counted"], 4), instances=1)
    x = np.ones(4, np.float32)
    for _ in range(2):
        (refused,) = harness.wait(harness.submit(engine, m=np.int64(3), x=x))
        assert refused.kind == "InvalidInput"
        assert "must all be of one shape" in refused.message
        assert harness.infer(engine, m=np.int64(1), x=x)["s"].shape == (1, 0)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_loop_over_a_batch_of_any_size_joins_its_outputs(
    harness: Harness, tmp_path: Path, batch: int
) -> None:
    halving = [
        helper.make_node("Add", ["v", "v"], ["v_out"]),
        helper.make_node("Relu", ["v_out"], ["scan"]),
    ]
    engine = harness.load_file(joining(tmp_path / "m.plan", halving), instances=1)
    x = np.arange(1, batch + 1, dtype=np.float32)
    for trips in (4, 1, 7):
        answer = harness.infer(engine, m=np.int64(trips), x=x)
        assert np.array_equal(answer["s"], [x * 2 ** (n + 1) for n in range(trips)])
        assert np.array_equal(answer["y"], x * 2**trips)


HOURS = 2**31 - 1
ENDLESS: dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]] = {
    "a request's trip count": ({}, {"m": np.int64(HOURS)}),
    "the file's trip count": ({"constant": HOURS}, {}),
    "no trip count": ({"trip_count": False}, {}),
    "in a branch": ({"in_branch": True}, {"m": np.int64(HOURS)}),
}


@pytest.mark.parametrize("endless", ENDLESS)
def test_an_unload_ends_a_loop_that_would_run_for_hours(
    harness: Harness, tmp_path: Path, endless: str
) -> None:
    options, inputs = ENDLESS[endless]
    engine = harness.load_file(counting(tmp_path / "m.plan", **options), instances=1)
    before = time.process_time()
    running = harness.submit(engine, limit=np.float32([1e30]), **inputs)
    wait_until(lambda: time.process_time() > before + 0.2, "the loop computes")
    harness.runtime.unload(engine, 0)
    (completion,) = harness.wait(running)
    assert completion.kind in {"Cancelled", "Unavailable"}
    wait_until(lambda: harness.runtime.left_behind()[1] == 0, "the end of the loop")
