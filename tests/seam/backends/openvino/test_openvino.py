"""Tests of the openvino backend with real models."""

import os
import struct
import threading
from pathlib import Path

import numpy as np
import onnx
import openvino
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import runtime_ext
from tests.seam.conftest import Harness, RunInThread, to_numpy
from tests.seam.models import as_blob, doubling, scaling, write_onnx
from tests.seam.threads import instance_threads, threads
from tests.submitting import submit


def test_an_onnx_model_runs(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(doubling(tmp_path / "m.plan"))
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert np.array_equal(harness.infer(engine, x=x)["y"], 2 * x)


def test_an_exported_blob_runs(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(as_blob(doubling(tmp_path / "m.onnx"), tmp_path / "m.plan"))
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    assert np.array_equal(harness.infer(engine, x=x)["y"], 2 * x)


def test_batch_sizes_may_change_from_request_to_request(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(doubling(tmp_path / "m.plan"), instances=1)
    for batch in (1, 5, 2, 0, 7):
        x = np.random.default_rng(batch).random((batch, 4), np.float32)
        assert np.array_equal(harness.infer(engine, x=x)["y"], 2 * x)


@pytest.mark.parametrize(
    ("datatype", "element_type", "data"),
    [
        ("UINT8", TensorProto.UINT8, np.array([1, 100], np.uint8)),
        ("UINT16", TensorProto.UINT16, np.array([1, 30000], np.uint16)),
        ("UINT32", TensorProto.UINT32, np.array([1, 2**30 - 1], np.uint32)),
        ("UINT64", TensorProto.UINT64, np.array([1, 2**30 - 1], np.uint64)),
        ("INT8", TensorProto.INT8, np.array([-3, 50], np.int8)),
        ("INT16", TensorProto.INT16, np.array([-300, 5000], np.int16)),
        ("INT32", TensorProto.INT32, np.array([-(2**30), 7], np.int32)),
        ("INT64", TensorProto.INT64, np.array([-(2**30), 7], np.int64)),
        ("FP16", TensorProto.FLOAT16, np.array([0.5, -2], np.float16)),
        ("FP32", TensorProto.FLOAT, np.array([0.1, -2], np.float32)),
        ("FP64", TensorProto.DOUBLE, np.array([0.5, -2], np.float64)),
    ],
)
def test_numbers_of_every_datatype_are_doubled(
    harness: Harness, tmp_path: Path, datatype: str, element_type: int, data: np.ndarray
) -> None:
    engine = harness.load_file(doubling(tmp_path / "m.plan", element_type, [2]))
    info = harness.runtime.engine(engine)
    assert (info.inputs[0].datatype, info.outputs[0].datatype) == (datatype, datatype)
    assert np.array_equal(harness.infer(engine, x=data)["y"], data + data)


def test_bfloat16_is_doubled(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(doubling(tmp_path / "m.plan", TensorProto.BFLOAT16, [2]))
    one_and_minus_two = np.array([0x3F80, 0xC000], np.uint16)  # the upper halves of the float32 values
    ticket = submit(harness.runtime, engine, [("x", "BF16", [2], one_and_minus_two)])
    (done,) = harness.wait(ticket)
    assert done.outputs[0].datatype == "BF16"
    assert np.frombuffer(done.outputs[0], np.uint16).tolist() == [0x4000, 0xC080]


def test_bool_is_negated(harness: Harness, tmp_path: Path) -> None:
    negate = helper.make_node("Not", ["x"], ["y"])
    spec = (TensorProto.BOOL, [3])
    engine = harness.load_file(write_onnx(tmp_path / "m.plan", [negate], {"x": spec}, {"y": spec}))
    assert harness.infer(engine, x=np.array([True, False, True]))["y"].tolist() == [False, True, False]


def test_several_inputs_and_outputs_keep_their_names(harness: Harness, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Sub", ["a", "b"], ["difference"]),
    ]
    spec = (TensorProto.FLOAT, [2])
    plan = write_onnx(tmp_path / "m.plan", nodes, {"a": spec, "b": spec}, {"sum": spec, "difference": spec})
    engine = harness.load_file(plan)
    answer = harness.infer(engine, b=np.float32([1, 2]), a=np.float32([10, 20]))
    assert {name: y.tolist() for name, y in answer.items()} == {"sum": [11, 22], "difference": [9, 18]}


def test_an_output_whose_size_depends_on_the_data_has_its_size(harness: Harness, tmp_path: Path) -> None:
    nonzero = helper.make_node("NonZero", ["x"], ["where"])
    plan = write_onnx(
        tmp_path / "m.plan",
        [nonzero],
        {"x": (TensorProto.FLOAT, ["n"])},
        {"where": (TensorProto.INT64, [1, "found"])},
    )
    engine = harness.load_file(plan)
    assert harness.runtime.engine(engine).outputs[0].shape == [1, -1]
    assert harness.infer(engine, x=np.float32([0, 3, 0, 4, 5]))["where"].tolist() == [[1, 3, 4]]
    assert harness.infer(engine, x=np.float32([0, 0]))["where"].shape == (1, 0)


def test_results_are_exact_float32_unless_asked_otherwise(harness: Harness, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((512, 64)).astype(np.float32)
    matmul = helper.make_node("MatMul", ["x", "w"], ["y"])
    plan = write_onnx(
        tmp_path / "m.plan",
        [matmul],
        {"x": (TensorProto.FLOAT, ["batch", 512])},
        {"y": (TensorProto.FLOAT, ["batch", 64])},
        [numpy_helper.from_array(weight, "w")],
    )
    x = rng.standard_normal((4, 512)).astype(np.float32)
    exact = x.astype(np.float64) @ weight.astype(np.float64)
    engine = harness.load_file(plan)
    assert harness.runtime.engine(engine).properties["precision"] == "f32"
    assert np.abs(harness.infer(engine, x=x)["y"] - exact).max() < 1e-3
    rounded = harness.load_file(plan, precision="bf16")
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        assert harness.runtime.engine(rounded).properties["precision"] == "bf16"
    assert np.abs(harness.infer(rounded, x=x)["y"] - exact).max() < 2


@pytest.mark.parametrize(("option", "value"), [("precision", "f8"), ("device", "cuda:0")])
def test_an_option_that_the_backend_does_not_know_is_refused(
    harness: Harness, tmp_path: Path, option: str, value: str
) -> None:
    with pytest.raises(runtime_ext.Error, match=f"{option} is '{value}'; "):
        harness.load_file(doubling(tmp_path / "m.plan"), **{option: value})


def test_all_instances_together_use_no_more_threads_than_there_are_cores(
    harness: Harness, tmp_path: Path
) -> None:
    engine = harness.load_file(doubling(tmp_path / "m.plan"), instances=7)
    info = harness.runtime.engine(engine)
    cores = len(os.sched_getaffinity(0))
    assert info.instances == 7
    assert int(info.properties["threads"]) <= cores
    assert int(info.properties["streams"]) <= cores


def test_the_threads_of_many_engines_are_bounded(harness: Harness, tmp_path: Path) -> None:
    most = max(64, 4 * (os.cpu_count() or 1))
    plan = doubling(tmp_path / "m.plan")
    first = harness.load_file(plan)
    before = threads()
    engines = [harness.load_file(plan) for _ in range(most // 3 + 10)]
    assert len(threads() - before - instance_threads()) <= most
    streams = [harness.runtime.engine(engine).properties["streams"] for engine in engines]
    assert (streams[0], streams[-1]) == (harness.runtime.engine(first).properties["streams"], "0")
    assert harness.infer(engines[-1], x=np.ones((1, 4), np.float32))["y"].tolist() == [[2, 2, 2, 2]]
    for engine in engines:
        harness.runtime.unload(engine)
    again = harness.load_file(plan)
    assert harness.runtime.engine(again).properties["streams"] == streams[0]


def test_an_output_does_not_change_when_the_next_request_runs(harness: Harness, tmp_path: Path) -> None:
    engine = harness.load_file(doubling(tmp_path / "m.plan"), instances=1)
    (first,) = harness.wait(harness.submit(engine, x=np.full((1, 4), 1, np.float32)))
    kept = first.outputs[0]
    harness.infer(engine, x=np.full((1, 4), 100, np.float32))
    assert to_numpy(kept).tolist() == [[2, 2, 2, 2]]


def test_answers_of_all_sizes_do_not_change_while_others_arrive(harness: Harness, tmp_path: Path) -> None:
    """Small tensors are copied to and from memory that the next request reuses; large ones are not."""
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("NonZero", ["x"], ["z"])]
    x_spec = {"x": (TensorProto.FLOAT, ["n"])}
    outputs = {"y": (TensorProto.FLOAT, ["n"]), "z": (TensorProto.INT64, [1, "m"])}
    engine = harness.load_file(write_onnx(tmp_path / "m.plan", nodes, x_spec, outputs), instances=1)
    module = runtime_ext.module(harness.runtime, engine)
    random = np.random.default_rng(0)
    given, answered = [], []
    for size in (3, 3, 5000, 3, 0, 4, 4096, 4097, 2, 2, 0, 0, 9000, 8999, 1, 4096, 3):
        given.append(random.integers(0, 2, size).astype(np.float32))
        answered.append([output.numpy() for output in module(torch.from_numpy(given[-1]))])
    for x, (y, z) in zip(given, answered, strict=True):
        assert np.array_equal(y, 2 * x)
        assert np.array_equal(z, [np.flatnonzero(x)])


def test_a_garbage_plan_is_refused(harness: Harness, tmp_path: Path) -> None:
    plan = tmp_path / "m.plan"
    plan.write_bytes(b"\x08\x07\x12garbage" * 100)
    with pytest.raises(runtime_ext.Error, match="cut off or damaged") as refused:
        harness.load_file(plan)
    assert refused.value.kind == "InvalidInput"
    assert "Exception from" not in str(refused.value)


def test_a_model_reads_no_other_file(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "secret.plan").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    model = onnx.load(scaling(tmp_path / "plain.onnx", 2.0))
    weights = model.graph.initializer[0]
    weights.ClearField("raw_data")
    weights.dims[:] = [4]
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="secret.plan")
    (tmp_path / "thief.onnx").write_bytes(model.SerializeToString())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(runtime_ext.Error) as refused:
        harness.load_file(tmp_path / "thief.onnx")
    assert refused.value.kind == "InvalidInput"
    assert sorted(tmp_path.iterdir()) == before


def test_a_damaged_blob_is_refused(harness: Harness, tmp_path: Path) -> None:
    blob = as_blob(doubling(tmp_path / "m.onnx"), tmp_path / "m.plan")
    blob.write_bytes(blob.read_bytes()[:-100])
    with pytest.raises(runtime_ext.Error) as refused:
        harness.load_file(blob)
    assert refused.value.kind == "InvalidInput"


def test_a_blob_from_an_older_openvino_is_unsupported(harness: Harness, tmp_path: Path) -> None:
    plan = tmp_path / "m.plan"
    plan.write_bytes(struct.pack("<6Q", 48, 56, 104, 0, 104, 1000) + b"<?xml version='1.0'?><cnndata/>")
    with pytest.raises(runtime_ext.Error, match="a blob from an older OpenVINO: export it again") as refused:
        harness.load_file(plan)
    assert refused.value.kind == "Unsupported"


def test_an_input_without_a_rank_is_refused(harness: Harness, tmp_path: Path) -> None:
    relu = helper.make_node("Relu", ["x"], ["y"])
    plan = write_onnx(
        tmp_path / "m.plan", [relu], {"x": (TensorProto.FLOAT, None)}, {"y": (TensorProto.FLOAT, None)}
    )
    with pytest.raises(runtime_ext.Error, match="dynamic rank") as refused:
        harness.load_file(plan)
    assert refused.value.kind == "InvalidInput"


def test_engines_come_and_go_while_another_serves(
    harness: Harness, tmp_path: Path, run_in_thread: RunInThread
) -> None:
    serving = harness.load_file(doubling(tmp_path / "m.plan"))
    module = runtime_ext.module(harness.runtime, serving)
    stop = threading.Event()

    def come_and_go() -> int:
        try:
            for _ in range(20):
                harness.runtime.load(999, str(tmp_path / "m.plan"), "openvino", runtime_ext.LoadOptions())
                harness.runtime.unload(999)
        finally:
            stop.set()
        return 20

    churn = run_in_thread(come_and_go)
    served = 0
    x = np.ones((2, 4), np.float32)
    while not stop.is_set():
        assert np.array_equal(harness.infer(serving, x=x)["y"], 2 * x)
        served += 1
    assert churn.result() == 20
    assert served > 0
    assert [e.id for e in harness.runtime.engines()] == [serving]
    del module


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
@pytest.mark.parametrize("batch_dim", [0, 1])
def test_unsigned_numbers_are_joined_and_divided(
    harness: Harness, tmp_path: Path, dtype: type[np.unsignedinteger], batch_dim: int
) -> None:
    element_type = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    shape: list[int | str] = ["batch", 3] if batch_dim == 0 else [3, "batch"]
    batch = runtime_ext.BatchOptions(
        max_batch_size=4,
        max_queue_delay_us=10_000_000,
        preferred_batch_sizes=[4],
        batch_dims={"x": batch_dim, "y": batch_dim},
    )
    engine = harness.load_file(doubling(tmp_path / "m.plan", element_type, shape), instances=1, batch=batch)
    sent = [
        np.arange(3, dtype=dtype).reshape((1, 3) if batch_dim == 0 else (3, 1)) + dtype(n) for n in range(4)
    ]
    done = harness.wait(*[harness.submit(engine, x=x) for x in sent])
    assert [completion.kind for completion in done] == [None] * 4
    assert done[0].batch_requests == 4
    for x, completion in zip(sent, done, strict=True):
        assert np.array_equal(to_numpy(completion.outputs[0]), x + x)


def reshaping(path: Path, shape: list[int]) -> Path:
    """Make a model that reshapes x: FP32 [?, 4] to y."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    constant = numpy_helper.from_array(np.int64(shape), "shape")
    spec = (TensorProto.FLOAT, ["batch", 4])
    return write_onnx(path, [node], {"x": spec}, {"y": (TensorProto.FLOAT, None)}, [constant])


def test_an_output_whose_items_differ_from_the_batch_is_refused_at_the_load(
    harness: Harness, tmp_path: Path
) -> None:
    batch = runtime_ext.BatchOptions(max_batch_size=8)
    twice = reshaping(tmp_path / "twice.onnx", [-1, 2])
    with pytest.raises(runtime_ext.Error, match=r"'y' has shape \[4, 2\] for a batch of 2: ") as refused:
        harness.load_file(twice, batch=batch)
    assert refused.value.kind == "InvalidInput"
    harness.load_file(twice)
    same = harness.load_file(reshaping(tmp_path / "same.onnx", [-1, 2, 2]), batch=batch)
    assert harness.infer(same, x=np.ones((3, 4), np.float32))["y"].shape == (3, 2, 2)


def test_a_small_model_has_no_threads_of_its_own(harness: Harness, tmp_path: Path) -> None:
    plan = doubling(tmp_path / "m.plan")
    harness.load_file(plan)
    before = threads()
    engines = [harness.load_file(plan) for _ in range(20)]
    assert not threads() - before
    assert {harness.runtime.engine(engine).properties["streams"] for engine in engines} == {"0"}
    assert {harness.runtime.engine(engine).instances for engine in engines} <= {1, 2}


def test_lone_requests_for_arithmetic_run_on_the_thread_that_submits_them(tmp_path: Path) -> None:
    clock = runtime_ext.ManualClock()  # it stands still, so every execution is short
    harness = Harness(tmp_path, clock)
    engine = harness.load_file(doubling(tmp_path / "m.plan"))
    prepared = harness.runtime.prepare(engine, [("x", "FP32", [1, 4])])
    x = np.full((1, 4), 3, np.float32)
    for _ in range(3):
        harness.wait(harness.runtime.submit(prepared, (x,)))
    harness.runtime.hold_short_requests(True)
    ticket = harness.runtime.submit(prepared, (x,))
    (completion,) = harness.runtime.run_held()
    assert (completion.ticket, to_numpy(completion.outputs[0]).tolist()) == (ticket, [[6, 6, 6, 6]])
    harness.runtime.close()
