"""Tests of the checks of a request's inputs: names, datatypes, shapes and bytes."""

import numpy as np
import pytest
import torch

import runtime_ext
from tests.seam.conftest import Harness
from tests.submitting import Tensor, submit


@pytest.fixture
def engine(harness: Harness) -> int:
    profiles = "profile x 1 4 / 8 4\nprofile x 16 4 / 32 4"
    plan = f"input x FP32 -1 4\n{profiles}\ninput k INT64\noutput y x 2\noutput n k 3"
    return harness.load_toy(plan, name="pair")


def x(batch: int = 1) -> Tensor:
    return ("x", "FP32", [batch, 4], np.ones((batch, 4), np.float32))


K: Tensor = ("k", "INT64", [], np.array(7, np.int64))


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ([x()], r"input 'k' is missing: INT64 \[\]"),
        (
            [x(), K, ("z", "FP32", [1], bytes(4))],
            r"engine \d+ \(pair\) has no input 'z'; its inputs: 'x', 'k'",
        ),
        ([x(), x(), K], "input 'x' came twice"),
        ([("x", "FP64", [1, 4], bytes(32)), K], "input 'x' has datatype FP64; the engine takes FP32"),
        ([("x", "FLOAT", [1, 4], bytes(16)), K], "input 'x' has datatype FLOAT; the engine takes FP32"),
        ([("x", "FP32", [4], bytes(16)), K], r"input 'x' has shape \[4\]; the engine takes \[\?, 4\]"),
        ([("x", "FP32", [1, 5], bytes(20)), K], r"input 'x' has shape \[1, 5\]; the engine takes \[\?, 4\]"),
        (
            [x(9), K],
            r"shape \[9, 4\]; the engine takes from \[1, 4\] to \[8, 4\] or from \[16, 4\] to \[32, 4\]",
        ),
        ([("x", "FP32", [1, 4], bytes(15)), K], r"input 'x' has 15 bytes; FP32 \[1, 4\] takes 16"),
        ([("x", "FP32", [-1, 4], bytes(16)), K], "negative dimension"),
        ([("x", "FP32", [1, 4], np.ones((4, 8), np.float32)[:, ::2]), K], "not a C-contiguous buffer"),
        ([("x", "FP32", [1, 4], "text"), K], "not a C-contiguous buffer"),
    ],
)
def test_a_wrong_input_is_refused_with_a_sentence_that_names_it(
    harness: Harness, engine: int, tensors: list[Tensor], sentence: str
) -> None:
    with pytest.raises(runtime_ext.Error, match=sentence) as refused:
        submit(harness.runtime, engine, tensors)
    assert refused.value.kind == "InvalidInput"


def test_a_shape_whose_product_overflows_is_refused(harness: Harness) -> None:
    engine = harness.load_toy("input x FP32 -1 -1\noutput y x 2")
    with pytest.raises(runtime_ext.Error, match="that many elements fit into no memory"):
        submit(harness.runtime, engine, [("x", "FP32", [2**40, 2**40], b"")])


def test_an_empty_tensor_whose_other_dimensions_overflow_is_refused(harness: Harness) -> None:
    engine = harness.load_toy("input x FP32 -1 -1 -1\noutput y x 2")
    with pytest.raises(runtime_ext.Error, match="that many elements fit into no memory") as refused:
        submit(harness.runtime, engine, [("x", "FP32", [0, 2**62, 4], b"")])
    assert refused.value.kind == "InvalidInput"
    assert harness.stats(engine).outcomes["InvalidInput"] == 1


@pytest.mark.parametrize("batch", [1, 8, 16, 32])
def test_every_profile_of_an_engine_is_usable(harness: Harness, engine: int, batch: int) -> None:
    (done,) = harness.wait(submit(harness.runtime, engine, [x(batch), K]))
    assert done.outputs[0].shape == [batch, 4]


def test_inputs_may_come_in_any_order_and_outputs_keep_the_engines(harness: Harness, engine: int) -> None:
    (done,) = harness.wait(submit(harness.runtime, engine, [K, x()]))
    assert [(o.name, o.datatype, o.shape) for o in done.outputs] == [
        ("y", "FP32", [1, 4]),
        ("n", "INT64", []),
    ]
    assert bytes(done.outputs[1]) == np.int64(21).tobytes()


def test_an_unaligned_buffer_is_accepted(harness: Harness, engine: int) -> None:
    body = b"." + np.arange(4, dtype=np.float32).tobytes()
    view = memoryview(body)[1:]
    (done,) = harness.wait(submit(harness.runtime, engine, [("x", "FP32", [1, 4], view), K]))
    assert np.frombuffer(done.outputs[0], np.float32).tolist() == [0, 2, 4, 6]


def test_data_that_begins_beyond_its_buffer_is_refused(harness: Harness) -> None:
    prepared = harness.runtime.prepare(
        harness.load_toy("input x FP32 -1\noutput y x 2"), [("x", "FP32", [0])]
    )
    with pytest.raises(runtime_ext.Error, match="begins at byte 5 of a buffer that has 4"):
        harness.runtime.submit(prepared, b"four", 5)


def test_an_output_index_out_of_range_is_an_index_error(harness: Harness, engine: int) -> None:
    (done,) = harness.wait(submit(harness.runtime, engine, [x(), K]))
    with pytest.raises(IndexError):
        done.data(2)


def test_an_empty_tensor_is_accepted(harness: Harness) -> None:
    engine = harness.load_toy("input x FP32 -1 4\noutput y x 2")
    (done,) = harness.wait(submit(harness.runtime, engine, [("x", "FP32", [0, 4], b"")]))
    assert (done.outputs[0].shape, bytes(done.outputs[0])) == ([0, 4], b"")


@pytest.mark.parametrize("datatype", runtime_ext.DATATYPES)
def test_every_datatype_crosses_both_ways(harness: Harness, datatype: str) -> None:
    engine = harness.load_toy(f"input x {datatype} 3\noutput y x 1")
    data = bytes([1, 0, 1] if datatype == "BOOL" else range(3 * runtime_ext.DATATYPES[datatype]))
    (done,) = harness.wait(submit(harness.runtime, engine, [("x", datatype, [3], data)]))
    assert done.outputs[0].datatype == datatype
    assert bytes(done.outputs[0]) == data


PAIRED = """input a FP32 -1 -1
input b FP32 -1 -1
profile a 1 1 / 4 4
profile b 1 1 / 4 4
profile a 1 5 / 8 8
profile b 1 5 / 8 8
output y a 1
output z b 1"""


@pytest.mark.parametrize("max_batch_size", [1, 8])
@pytest.mark.parametrize(("a", "b"), [([2, 2], [2, 6]), ([2, 6], [2, 2]), ([3, 8], [3, 4])])
def test_inputs_that_no_profile_accepts_together_are_refused_before_they_are_queued(
    harness: Harness, max_batch_size: int, a: list[int], b: list[int]
) -> None:
    engine = harness.load_toy(PAIRED, batch=runtime_ext.BatchOptions(max_batch_size=max_batch_size))
    with pytest.raises(runtime_ext.Error) as refused:
        harness.runtime.prepare(engine, [("a", "FP32", a), ("b", "FP32", b)])
    assert refused.value.kind == "InvalidInput"
    assert str(refused.value) == (
        f"no profile of the engine takes these inputs together: 'a' {a}, 'b' {b}; its profiles take "
        "'a' from [1, 1] to [4, 4] with 'b' from [1, 1] to [4, 4]; or "
        "'a' from [1, 5] to [8, 8] with 'b' from [1, 5] to [8, 8]"
    )
    assert harness.stats(engine).outcomes["InvalidInput"] == 1
    with pytest.raises(runtime_ext.Error, match="no profile of the engine takes these inputs together"):
        torch.ops.trt.execute_engine_list(engine, [torch.ones(a), torch.ones(b)])
    assert harness.stats(engine).counters["executions"] == 0


@pytest.mark.parametrize("max_batch_size", [1, 8])
@pytest.mark.parametrize("shape", [(2, 2), (8, 8)])
def test_inputs_that_a_profile_accepts_together_are_run(
    harness: Harness, max_batch_size: int, shape: tuple[int, int]
) -> None:
    engine = harness.load_toy(PAIRED, batch=runtime_ext.BatchOptions(max_batch_size=max_batch_size))
    ones = np.ones(shape, np.float32)
    assert np.array_equal(harness.infer(engine, a=ones, b=ones)["z"], ones)
