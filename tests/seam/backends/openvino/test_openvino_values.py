"""Tests that the openvino backend refuses values that do not fit into the datatype that it computes in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtime_ext
from tests.seam.conftest import Harness
from tests.seam.models import as_blob, doubling, write_onnx

INT64, FLOAT, DOUBLE = TensorProto.INT64, TensorProto.FLOAT, TensorProto.DOUBLE
node = helper.make_node

NARROWED: dict[str, tuple[int, Any, str, list[Any], list[Any]]] = {
    "INT64": (INT64, np.int64, "INT32", [-(2**31), 2**31 - 1], [2**31, -(2**31) - 1, 2**63 - 1, -(2**63)]),
    "UINT64": (TensorProto.UINT64, np.uint64, "INT32", [0, 2**31 - 1], [2**31, 2**32, 2**64 - 1]),
    "UINT32": (TensorProto.UINT32, np.uint32, "INT32", [0, 2**31 - 1], [2**31, 2**32 - 1]),
    "FP64": (DOUBLE, np.float64, "FP32", [-3.4e38, 0.5, np.nan], [3.5e38, -1e300, np.inf, -np.inf]),
}


def absolute(path: Path, element_type: int) -> Path:
    """Make a model of y = |x|, for x of any length."""
    spec = (element_type, ["n"])
    return write_onnx(path, [node("Abs", ["x"], ["y"])], {"x": spec}, {"y": spec})


@pytest.mark.parametrize("as_plan", ["onnx", "blob"])
@pytest.mark.parametrize("datatype", NARROWED)
def test_a_value_that_does_not_fit_is_refused_wherever_it_is(
    harness: Harness, tmp_path: Path, datatype: str, as_plan: str
) -> None:
    element_type, dtype, computed_as, fit, do_not = NARROWED[datatype]
    plan = absolute(tmp_path / "m.onnx", element_type)
    if as_plan == "blob":
        plan = as_blob(plan, tmp_path / "m.plan")
    engine = harness.load_file(plan)
    info = harness.runtime.engine(engine)
    for spec in (*info.inputs, *info.outputs):
        assert (spec.datatype, spec.computed_as) == (datatype, computed_as)
    x = np.array(fit, dtype)
    if datatype != "INT64":  # the least INT64 has no absolute value
        assert np.allclose(harness.infer(engine, x=x)["y"], np.abs(x), equal_nan=True)
    for value in do_not:
        for length, place in ((1, 0), (1000, 0), (1000, 517), (1000, 999)):
            x = np.ones(length, dtype)
            x[place] = value
            (done,) = harness.wait(harness.submit(engine, x=x))
            assert done.kind == "InvalidInput"
            assert (
                f"at element {place}; this engine computes with its {datatype} as {computed_as}"
                in done.message
            )
            assert "input 'x' has " in done.message
    assert harness.infer(engine, x=np.ones(1, dtype))["y"].tolist() == [1]


def test_the_refusal_names_the_value_and_the_range(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(absolute(tmp_path / "m.plan", INT64))
    (done,) = harness.wait(harness.submit(engine, x=np.array([5, 3_000_000_000], np.int64)))
    assert done.message.endswith(
        "input 'x' has 3000000000 at element 1; this engine computes with its INT64 as INT32, so it accepts "
        "whole numbers from -2147483648 to 2147483647"
    )


def test_only_the_request_with_the_value_is_refused_in_a_batch(harness: Harness, tmp_path: Path) -> None:
    batch = runtime_ext.BatchOptions(
        max_batch_size=3, max_queue_delay_us=10_000_000, preferred_batch_sizes=[3]
    )
    engine = harness.load_file(absolute(tmp_path / "m.plan", INT64), instances=1, batch=batch)
    tickets = [harness.submit(engine, x=np.array([value], np.int64)) for value in (1, 2**40, 3)]
    assert [done.kind for done in harness.wait(*tickets)] == [None, "InvalidInput", None]


@pytest.mark.parametrize(
    ("element_type", "dtype"),
    [(INT64, np.int64), (TensorProto.UINT64, np.uint64), (TensorProto.UINT32, np.uint32)],
)
def test_numbers_that_are_cast_before_anything_else_may_be_of_any_size(
    harness: Harness, tmp_path: Path, element_type: int, dtype: Any
) -> None:
    nodes = [node("Cast", ["x"], ["f"], to=FLOAT), node("Mul", ["f", "half"], ["y"])]
    half = numpy_helper.from_array(np.float32(0.5), "half")
    plan = write_onnx(tmp_path / "m.plan", nodes, {"x": (element_type, ["n"])}, {"y": (FLOAT, ["n"])}, [half])
    engine = harness.load_file(plan)
    x = np.array([1, np.iinfo(dtype).max], dtype)
    assert np.allclose(harness.infer(engine, x=x)["y"], x.astype(np.float64) / 2)


@pytest.mark.parametrize(
    ("element_type", "computed_as"),
    [
        (TensorProto.INT32, None),
        (TensorProto.INT16, "INT32"),
        (TensorProto.UINT16, "INT32"),
        (TensorProto.INT8, None),
        (TensorProto.UINT8, None),
        (FLOAT, None),
        (TensorProto.FLOAT16, "FP32"),
        (TensorProto.BFLOAT16, None),
    ],
)
def test_the_metadata_says_which_datatypes_are_computed_differently(
    harness: Harness, tmp_path: Path, element_type: int, computed_as: str | None
) -> None:
    info = harness.runtime.engine(harness.load_file(doubling(tmp_path / "m.plan", element_type)))
    assert [spec.computed_as for spec in (*info.inputs, *info.outputs)] == [computed_as, computed_as]


@pytest.mark.parametrize("shape", [["n"], [4]], ids=["dynamic", "static"])
def test_an_infinite_output_is_infinite_in_fp64_too(
    harness: Harness, tmp_path: Path, shape: list[int | str]
) -> None:
    spec = (DOUBLE, shape)
    nodes = [
        node("Reciprocal", ["x"], ["y"]),
        node("Neg", ["y"], ["z"]),
        node("Cast", ["f"], ["g"], to=DOUBLE),
    ]
    plan = write_onnx(
        tmp_path / "m.plan",
        nodes,
        {"x": spec, "f": (FLOAT, shape)},
        {"y": spec, "z": spec, "g": spec, "x": spec},
    )
    engine = harness.load_file(plan)
    info = harness.runtime.engine(engine)
    assert [(o.datatype, o.computed_as) for o in info.outputs] == [("FP64", "FP32")] * 4
    x = np.float64([0, 0.5, 2, -4])
    f = np.float32([np.inf, -np.inf, np.nan, 1])
    answer = harness.infer(engine, x=x, f=f)
    assert answer["y"].tolist() == [np.inf, 2, 0.5, -0.25]
    assert answer["z"].tolist() == [-np.inf, -2, -0.5, 0.25]
    assert np.array_equal(answer["g"], f.astype(np.float64), equal_nan=True)
    assert np.array_equal(answer["x"], x)


# -- constants

HUGE = numpy_helper.from_array(np.array([2**40], np.int64), "huge")


WRONG_CONSTANTS = {
    "Add INT64": ("Add", INT64, 2**40, "has the value 1099511627776, and node 'made' (Add) computes with it"),
    "Mul INT64": ("Mul", INT64, -(2**40), "has the value -1099511627776"),
    "Max INT64": ("Max", INT64, 2**40, "has the value 1099511627776"),
    "Min INT64": ("Min", INT64, -(2**40), "has the value -1099511627776"),
    "Add UINT64": ("Add", TensorProto.UINT64, 2**63, "has the value 9223372036854775808"),
    "Add UINT32": ("Add", TensorProto.UINT32, 2**31, "has the value 2147483648"),
    "Add FP64": ("Add", DOUBLE, 1e300, "has the value 1e+300"),
}


@pytest.mark.parametrize("what", WRONG_CONSTANTS)
def test_a_constant_that_changes_the_answer_is_refused(harness: Harness, tmp_path: Path, what: str) -> None:
    operator, element_type, value, sentence = WRONG_CONSTANTS[what]
    constant = helper.make_tensor("huge", element_type, [1], [value])
    spec = (element_type, ["n"])
    nodes = [node(operator, ["x", "huge"], ["made"], name="made"), node("Add", ["made", "x"], ["y"])]
    with pytest.raises(runtime_ext.Error) as refused:
        harness.load_file(write_onnx(tmp_path / "m.plan", nodes, {"x": spec}, {"y": spec}, [constant]))
    assert refused.value.kind == "Unsupported"
    assert sentence in str(refused.value)


def test_a_constant_that_goes_through_other_nodes_first_is_found(harness: Harness, tmp_path: Path) -> None:
    nodes = [node("Expand", ["huge", "shape"], ["e"]), node("Add", ["x", "e"], ["y"])]
    plan = write_onnx(
        tmp_path / "m.plan",
        [node("Shape", ["x"], ["shape"]), *nodes],
        {"x": (INT64, ["n"])},
        {"y": (INT64, ["n"])},
        [HUGE],
    )
    with pytest.raises(runtime_ext.Error, match="'huge' has the value 1099511627776"):
        harness.load_file(plan)


def test_a_constant_in_a_branch_is_found(harness: Harness, tmp_path: Path) -> None:
    def branch(operator: str) -> Any:
        output = helper.make_tensor_value_info("out", INT64, ["n"])
        return helper.make_graph([node(operator, ["x", "huge"], ["out"])], operator, [], [output], [HUGE])

    nodes = [node("If", ["which"], ["y"], then_branch=branch("Min"), else_branch=branch("Add"))]
    plan = write_onnx(
        tmp_path / "m.plan",
        nodes,
        {"which": (TensorProto.BOOL, []), "x": (INT64, ["n"])},
        {"y": (INT64, ["n"])},
    )
    with pytest.raises(runtime_ext.Error, match="has the value 1099511627776"):
        harness.load_file(plan)


@pytest.mark.parametrize("end", [2**63 - 1, 2**31, 2**40])
@pytest.mark.parametrize("way", ["constant", "concatenated", "cast"])
def test_the_end_of_a_slice_may_be_any_large_number(
    harness: Harness, tmp_path: Path, end: int, way: str
) -> None:
    constants = [
        numpy_helper.from_array(np.array(values, np.int64), name)
        for name, values in {"from": [1, 0], "one": [3], "end": [end], "ends": [3, end]}.items()
    ]
    nodes = [node("Slice", ["x", "from", "ends"], ["y"])]
    if way == "concatenated":
        nodes = [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["rows"]),
            node("Concat", ["rows", "end"], ["to"], axis=0),
            node("Slice", ["x", "from", "to"], ["y"]),
        ]
        constants.append(numpy_helper.from_array(np.array([0], np.int64), "zero"))
    if way == "cast":
        nodes = [node("Cast", ["ends"], ["c"], to=INT64), node("Slice", ["x", "from", "c"], ["y"])]
    plan = write_onnx(tmp_path / "m.plan", nodes, {"x": (FLOAT, [3, "n"])}, {"y": (FLOAT, None)}, constants)
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(harness.infer(harness.load_file(plan), x=x)["y"], x[1:])


def test_the_end_of_a_reverse_slice_may_be_any_small_number(harness: Harness, tmp_path: Path) -> None:
    values = {"from": [2**63 - 1], "to": [-(2**63)], "axes": [0], "steps": [-1]}
    constants = [numpy_helper.from_array(np.array(v, np.int64), name) for name, v in values.items()]
    nodes = [node("Slice", ["x", "from", "to", "axes", "steps"], ["y"])]
    plan = write_onnx(tmp_path / "m.plan", nodes, {"x": (FLOAT, ["n"])}, {"y": (FLOAT, ["n"])}, constants)
    x = np.arange(5, dtype=np.float32)
    assert np.array_equal(harness.infer(harness.load_file(plan), x=x)["y"], x[::-1])


@pytest.mark.parametrize(("operator", "bound"), [("Min", 2**63 - 1), ("Max", -(2**63))])
def test_a_bound_that_no_value_reaches_may_be_of_any_size(
    harness: Harness, tmp_path: Path, operator: str, bound: int
) -> None:
    constant = numpy_helper.from_array(np.array([bound], np.int64), "bound")
    spec = (INT64, ["n"])
    plan = write_onnx(
        tmp_path / "m.plan", [node(operator, ["x", "bound"], ["y"])], {"x": spec}, {"y": spec}, [constant]
    )
    x = np.array([-(2**31), 5, 2**31 - 1], np.int64)
    assert np.array_equal(harness.infer(harness.load_file(plan), x=x)["y"], x)


def test_constants_are_combined_exactly(harness: Harness, tmp_path: Path) -> None:
    """2^40 / 2^38, and 2^40 as FP32: neither result needs more than 32 bits."""
    divisor = numpy_helper.from_array(np.array([2**38], np.int64), "divisor")
    nodes = [
        node("Div", ["huge", "divisor"], ["four"]),
        node("Add", ["x", "four"], ["y"]),
        node("Cast", ["huge"], ["f"], to=FLOAT),
    ]
    plan = write_onnx(
        tmp_path / "m.plan",
        nodes,
        {"x": (INT64, ["n"])},
        {"y": (INT64, ["n"]), "f": (FLOAT, [1])},
        [HUGE, divisor],
    )
    answer = harness.infer(harness.load_file(plan), x=np.array([1], np.int64))
    assert (answer["y"].tolist(), answer["f"].tolist()) == ([5], [2.0**40])
