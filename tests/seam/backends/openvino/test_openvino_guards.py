"""Tests that hostile values neither end the process or other requests, nor show foreign memory."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime_ext
from runtime_ext.backends import OpenVinoOptions
from tests.seam.conftest import Harness, to_numpy
from tests.seam.models import as_blob, doubling, write_onnx

FLOAT, INT64, INT32, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL


def refusal(harness: Harness, engine: int, **inputs: np.ndarray) -> tuple[str | None, str]:
    """Return how a request ends: its kind of failure and its sentence."""
    (completion,) = harness.wait(harness.submit(engine, **inputs))
    return completion.kind, completion.message


def indexing(path: Path, operator: str, free: bool, **attributes: object) -> Path:
    """Make a model of y = operator(x, i, updates), where indices are an input; `free`: all shapes are
    dynamic."""
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
    harness: Harness, tmp_path: Path, *, operator: str, attributes: dict[str, int], free: bool, index: int
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


def test_a_row_of_indices_starts_after_the_batch_dimensions(harness: Harness, tmp_path: Path) -> None:
    inputs: dict[str, tuple[int, list[int | str] | None]] = {
        "x": (FLOAT, ["a", "b", "c"]),
        "i": (INT64, ["a", "d", 1]),
    }
    node = helper.make_node("GatherND", ["x", "i"], ["y"], batch_dims=1)
    plan = write_onnx(tmp_path / "m.plan", [node], inputs, {"y": (FLOAT, ["a", "d", "c"])})
    engine = harness.load_file(plan, instances=1)
    for rows, columns in ((2, 4), (4, 2)):
        x = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns, 1)
        last = np.full((rows, 1, 1), columns - 1)
        assert np.array_equal(harness.infer(engine, x=x, i=last)["y"], x[:, -1:])
        kind, sentence = refusal(harness, engine, x=x, i=last + 1)
        assert (kind, f"from -{columns} to {columns - 1}" in sentence) == ("InvalidInput", True)


@pytest.mark.parametrize("free", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_failed_execution_is_an_error_however_many_threads_run_it(
    harness: Harness, tmp_path: Path, threads: int, free: bool
) -> None:
    engine = harness.load_file(indexing(tmp_path / "m.plan", "GatherND", free), threads=threads)
    kind, sentence = refusal(harness, engine, x=np.zeros((3, 2), np.float32), i=np.int64([[0], [3]]))
    assert (kind, "has the value 3" in sentence) == ("InvalidInput", True)


@pytest.mark.parametrize("operator", ["TopK", "ArgMax", "ArgMin"])
def test_the_maximum_of_an_empty_tensor_is_refused(harness: Harness, tmp_path: Path, operator: str) -> None:
    x = (FLOAT, ["a", "b"])
    if operator == "TopK":
        node = helper.make_node("TopK", ["x", "k"], ["values", "y"], axis=1)
        k = [numpy_helper.from_array(np.int64([2]), "k")]
    else:
        node = helper.make_node(operator, ["x"], ["y"], axis=1)
        k = []
    plan = write_onnx(tmp_path / "m.plan", [node], {"x": x}, {"y": (INT64, ["c", "d"])}, k)
    engine = harness.load_file(plan, instances=1)
    good = np.float32([[1, 3, 2], [6, 5, 4]])
    before = harness.infer(engine, x=good)["y"]
    kind, sentence = refusal(harness, engine, x=np.zeros((2, 0), np.float32))
    assert kind == "InvalidInput"
    assert "'x'" in sentence
    assert harness.infer(engine, x=np.zeros((0, 3), np.float32))["y"].shape[0] == 0
    assert np.array_equal(harness.infer(engine, x=good)["y"], before)


def test_the_maximum_of_an_empty_intermediate_is_refused(harness: Harness, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Compress", ["x", "keep"], ["kept"]),
        helper.make_node("ArgMax", ["kept"], ["y"], axis=0),
    ]
    plan = write_onnx(
        tmp_path / "m.plan", nodes, {"x": (FLOAT, [4]), "keep": (BOOL, [4])}, {"y": (INT64, [1])}
    )
    engine = harness.load_file(plan, instances=1)
    x = np.float32([1, 4, 3, 2])
    assert harness.infer(engine, x=x, keep=np.array([True, False, True, True]))["y"].tolist() == [1]
    kind, _ = refusal(harness, engine, x=x, keep=np.zeros(4, bool))
    assert kind == "InvalidInput"


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize(
    ("operator", "empty", "full"),
    [("ReduceSum", 0, 3), ("ReduceMax", None, 1), ("MatMul", None, 3)],
    ids=["sum", "max", "product"],
)
def test_empty_tensors_are_computed_as_in_onnx_or_refused(
    harness: Harness, tmp_path: Path, *, operator: str, empty: float | None, full: float, rows: int
) -> None:
    if operator == "MatMul":
        node = helper.make_node("MatMul", ["x", "x2"], ["y"])
        inputs = {"x": (FLOAT, ["a", "b"]), "x2": (FLOAT, ["b", 1])}
    else:
        node = helper.make_node(operator, ["x", "axes"] if operator == "ReduceSum" else ["x"], ["y"])
        if operator != "ReduceSum":
            node.attribute.append(helper.make_attribute("axes", [1]))
        inputs = {"x": (FLOAT, ["a", "b"])}
    axes = [numpy_helper.from_array(np.int64([1]), "axes")] if operator == "ReduceSum" else []
    plan = write_onnx(tmp_path / "m.plan", [node], inputs, {"y": (FLOAT, ["c", 1])}, axes)
    engine = harness.load_file(plan, instances=1)

    def ask(columns: int) -> tuple[str | None, list[list[float]]]:
        given = {"x": np.ones((rows, columns), np.float32)}
        if operator == "MatMul":
            given["x2"] = np.ones((columns, 1), np.float32)
        (done,) = harness.wait(harness.submit(engine, **given))
        return done.kind, to_numpy(done.outputs[0]).tolist() if done.kind is None else []

    assert ask(3) == (None, [[full]] * rows)
    kind, answer = ask(0)
    assert kind == "InvalidInput" or answer == [[empty]] * rows
    assert ask(3) == (None, [[full]] * rows)


def test_an_input_that_only_the_model_refuses_is_answered_in_plain_words(
    harness: Harness, tmp_path: Path
) -> None:
    plan = write_onnx(
        tmp_path / "m.plan",
        [helper.make_node("Add", ["ids", "mask"], ["sum"]), helper.make_node("Add", ["sum", "table"], ["y"])],
        {"ids": (FLOAT, ["n", "m"]), "mask": (FLOAT, ["n", "k"])},
        {"y": (FLOAT, ["n", 512])},
        [numpy_helper.from_array(np.zeros((1, 512), np.float32), "table")],
    )
    engine = harness.load_file(plan, instances=1)
    for ids, mask in ((513, 513), (512, 511)):
        kind, sentence = refusal(
            harness, engine, ids=np.zeros((1, ids), np.float32), mask=np.zeros((1, mask), np.float32)
        )
        assert kind == "InvalidInput"
        assert f"'ids' of shape [1, {ids}] and 'mask' of shape [1, {mask}]" in sentence
        for internal in ("Exception", "Check", ".cpp", ".hpp", "/src", "opset", "ov::", "\n"):
            assert internal not in sentence
    good = np.ones((2, 512), np.float32)
    assert np.array_equal(harness.infer(engine, ids=good, mask=good)["y"], 2 * good)


@pytest.mark.parametrize(
    ("operator", "attributes"),
    [("Div", {}), ("Mod", {}), ("Mod", {"fmod": 1})],
    ids=["quotient", "remainder", "remainder as in C"],
)
def test_an_integer_is_not_divided_by_zero(
    harness: Harness, tmp_path: Path, operator: str, attributes: dict[str, int]
) -> None:
    spec = (INT32, ["n"])
    plan = write_onnx(
        tmp_path / "m.plan",
        [helper.make_node(operator, ["a", "b"], ["y"], **attributes)],
        {"a": spec, "b": spec},
        {"y": spec},
    )
    engine = harness.load_file(plan, instances=1)
    kind, sentence = refusal(harness, engine, a=np.int32([7, 8]), b=np.int32([2, 0]))
    assert (kind, "'b'" in sentence) == ("InvalidInput", True)
    assert harness.infer(engine, a=np.int32([7, 9]), b=np.int32([2, 3]))["y"].tolist()[1] in {3, 0}


def test_an_integer_is_not_divided_by_a_dimension_of_zero(harness: Harness, tmp_path: Path) -> None:
    nodes = [helper.make_node("Shape", ["x"], ["size"]), helper.make_node("Div", ["a", "size"], ["y"])]
    one = (TensorProto.INT64, [1])
    plan = write_onnx(tmp_path / "m.plan", nodes, {"a": one, "x": (TensorProto.FLOAT, ["n"])}, {"y": one})
    engine = harness.load_file(plan, instances=1)
    kind, sentence = refusal(harness, engine, a=np.int64([8]), x=np.float32([]))
    assert kind == "InvalidInput", sentence
    assert harness.infer(engine, a=np.int64([8]), x=np.ones(4, np.float32))["y"].tolist() == [2]


@pytest.mark.parametrize(
    ("operator", "sizes"),
    [
        ("Tile", [10**9]),
        ("ConstantOfShape", [10**6, 10**6]),
        ("Expand", [10**9, 4]),
        ("Pad", [10**9, 10**9]),
        ("Range", [10**9]),
    ],
)
def test_an_excessive_size_is_refused(
    harness: Harness, tmp_path: Path, operator: str, sizes: list[int]
) -> None:
    inputs = {"x": (FLOAT, [4]), "sizes": (INT64, [len(sizes)])}
    more = []
    if operator == "ConstantOfShape":
        nodes = [helper.make_node(operator, ["sizes"], ["made"])]
    elif operator == "Range":
        nodes = [
            helper.make_node("Squeeze", ["sizes"], ["stop"]),
            helper.make_node("Range", ["zero", "stop", "one"], ["numbers"]),
            helper.make_node("Cast", ["numbers"], ["made"], to=FLOAT),
        ]
        more = [numpy_helper.from_array(np.int64(n), name) for n, name in ((0, "zero"), (1, "one"))]
    else:
        nodes = [helper.make_node(operator, ["x", "sizes"], ["made"])]
    nodes.append(helper.make_node("ReduceSum", ["made"], ["y"], keepdims=0))
    plan = write_onnx(tmp_path / "m.plan", nodes, inputs, {"y": (FLOAT, [])}, more)
    engine = harness.load_file(plan, instances=1)
    kind, sentence = refusal(harness, engine, x=np.ones(4, np.float32), sizes=np.int64(sizes))
    assert (kind, "268435456" in sentence or "67108864" in sentence or "33554432" in sentence) == (
        "InvalidInput",
        True,
    ), sentence
    (done,) = harness.wait(
        harness.submit(engine, x=np.ones(4, np.float32), sizes=np.int64([3, 4][-len(sizes) :]))
    )
    assert done.kind is None, done.message


@pytest.mark.parametrize("free", [False, True], ids=["static", "dynamic"])
@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5), (2, 1, 2, 3, 2)], ids=str)
def test_a_tensor_can_be_repeated_along_any_number_of_axes(
    harness: Harness, tmp_path: Path, shape: tuple[int, ...], *, free: bool
) -> None:
    inputs = {"x": (FLOAT, [f"d{n}" if free else size for n, size in enumerate(shape)])}
    node = helper.make_node("Tile", ["x", "repeats"], ["y"])
    plan = write_onnx(
        tmp_path / "m.plan", [node], {**inputs, "repeats": (INT64, [len(shape)])}, {"y": (FLOAT, None)}
    )
    engine = harness.load_file(plan, instances=1)
    x = np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)
    for repeats in itertools.product([1, 2], repeat=len(shape)):
        answer = harness.infer(engine, x=x, repeats=np.int64(repeats))["y"]
        assert np.array_equal(answer, np.tile(x, repeats)), repeats


def test_a_range_that_steps_away_from_its_end_is_empty(harness: Harness, tmp_path: Path) -> None:
    inputs: dict[str, tuple[int, list[int | str]]] = {name: (INT64, []) for name in ("start", "stop", "step")}
    node = helper.make_node("Range", list(inputs), ["y"])
    engine = harness.load_file(write_onnx(tmp_path / "m.plan", [node], inputs, {"y": (INT64, ["n"])}))
    for start, stop, step in ((0, 5, 1), (5, 0, -2), (5, 0, 1), (0, 5, -1), (3, 3, 1)):
        answer = harness.infer(engine, start=np.int64(start), stop=np.int64(stop), step=np.int64(step))["y"]
        assert answer.tolist() == list(range(start, stop, step))
    kind, _ = refusal(harness, engine, start=np.int64(0), stop=np.int64(5), step=np.int64(0))
    assert kind == "InvalidInput"


@pytest.mark.parametrize("index", [7, -5])
def test_a_constant_index_outside_the_data_is_refused_at_load(
    harness: Harness, tmp_path: Path, index: int
) -> None:
    node = helper.make_node("Gather", ["x", "i"], ["y"])
    far = numpy_helper.from_array(np.int64([0, index]), "i")
    plan = write_onnx(tmp_path / "m.plan", [node], {"x": (FLOAT, [4, 2])}, {"y": (FLOAT, [2, 2])}, [far])
    with pytest.raises(runtime_ext.Error, match=f"value {index}"):
        harness.load_file(plan)


def test_a_refused_request_does_not_affect_other_contexts(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(indexing(tmp_path / "m.plan", "GatherND", True), instances=4, threads=2)
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    tickets = [harness.submit(engine, x=x, i=np.int64([[n % 4]])) for n in range(200)]
    for n, completion in enumerate(harness.wait(*tickets)):
        if n % 4 == 3:
            assert completion.kind == "InvalidInput"
        else:
            assert to_numpy(completion.outputs[0]).tolist() == [x[n % 4].tolist()]


def test_the_options_reach_the_backend(tmp_path: Path) -> None:
    options = OpenVinoOptions(shape_cache=3, max_tensor_bytes=100, allow_blobs=False)
    runtime = runtime_ext.create_runtime(openvino=options)
    plan = doubling(tmp_path / "m.onnx")
    runtime.load(1, str(plan), "openvino", runtime_ext.LoadOptions())
    with pytest.raises(runtime_ext.Error, match="allow_blobs"):
        runtime.load(2, str(as_blob(plan, tmp_path / "m.blob")), "openvino", runtime_ext.LoadOptions())
    runtime.close()


def gathering(path: Path) -> Path:
    """Make a model of y = (relu(x)[i] + z) @ x.T: operations of many shapes before and after a guarded
    one."""
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"]),
        helper.make_node("Gather", ["positive", "i"], ["rows"], axis=0),
        helper.make_node("Add", ["rows", "z"], ["sum"]),
        helper.make_node("Transpose", ["x"], ["turned"]),
        helper.make_node("MatMul", ["sum", "turned"], ["y"]),
    ]
    inputs = {"x": (FLOAT, ["n", "m"]), "i": (INT64, ["k"]), "z": (FLOAT, ["k", "m"])}
    return write_onnx(path, nodes, inputs, {"y": (FLOAT, ["k", "n"])})


@pytest.mark.parametrize("threads", [1, 2])
def test_a_shape_is_right_again_after_a_refusal_at_another_shape(
    harness: Harness, tmp_path: Path, threads: int
) -> None:
    engine = harness.load_file(gathering(tmp_path / "m.plan"), instances=1, threads=threads)
    rng = np.random.default_rng(0)

    def ask(n: int, m: int, k: int, beyond: int) -> tuple[str | None, bool]:
        x, z, i = rng.random((n, m), np.float32), rng.random((k, m), np.float32), rng.integers(0, n, k)
        i[-1] += beyond
        (done,) = harness.wait(harness.submit(engine, x=x, i=i, z=z))
        if done.kind is not None:
            return done.kind, False
        y = to_numpy(done.outputs[0])
        return None, y.shape == (k, n) and np.allclose(y, (x[i] + z) @ x.T, rtol=1e-4)

    for shape in ((3, 2, 2), (2, 5, 3), (5, 4, 1), (1, 1, 4)):
        assert ask(3, 4, 2, 0) == (None, True)
        assert ask(*shape, 100) == ("InvalidInput", False)
        assert ask(3, 4, 2, 0) == (None, True)
        assert ask(*shape, 0) == (None, True)


def test_a_refused_index_does_not_recompile_the_plan(harness: Harness, tmp_path: Path) -> None:
    plan = gathering(tmp_path / "m.plan")
    engine = harness.load_file(plan, instances=1)
    plan.unlink()
    x, z = np.ones((3, 2), np.float32), np.ones((2, 2), np.float32)
    for _ in range(3):
        assert refusal(harness, engine, x=x, i=np.int64([0, 3]), z=z)[0] == "InvalidInput"
        assert harness.infer(engine, x=x, i=np.int64([0, 2]), z=z)["y"].tolist() == [[4, 4, 4]] * 2


@pytest.mark.parametrize("threads", [1, 2])
def test_answers_are_right_after_refusals_at_every_shape(
    harness: Harness, tmp_path: Path, threads: int
) -> None:
    plan = gathering(tmp_path / "m.plan")
    engine = harness.load_file(plan, threads=threads)
    rng = np.random.default_rng(0)
    for _ in range(100):
        n, m, k = rng.integers(1, 6, 3)
        x, z = rng.random((n, m), np.float32), rng.random((k, m), np.float32)
        i = rng.integers(0, n, k)
        outside = np.append(i[:-1], n)
        assert refusal(harness, engine, x=x, i=outside, z=z)[0] == "InvalidInput"
        unfit = np.zeros((k + 1, m + 2), np.float32)
        assert refusal(harness, engine, x=x, i=i, z=unfit)[0] == "InvalidInput"
        assert np.allclose(harness.infer(engine, x=x, i=i, z=z)["y"], (x[i] + z) @ x.T, rtol=1e-4)
