"""Tests of engines' properties, and of the plans and libraries that are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

import runtime_ext
from tests.fakes import tensorrt as sdk
from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt, running


def test_an_engine_reports_its_tensors_and_profiles(trt: TensorRt) -> None:
    engine = trt.load_plan(f"name net\n{DOUBLE}\nshape_input size INDEX 2\nvalues size 1 1 / 2 2 / 3 4")
    info = trt.runtime.engine(engine)
    x, size = info.inputs
    assert (x.shape, x.location, x.profiles[0].opt) == ([-1, 4], "device", [4, 4])
    assert (size.location, size.values[0].min, size.values[0].max) == ("host", [1, 1], [3, 4])
    assert info.device == "fake:0"
    assert info.properties["profiles"] == "1"
    assert info.properties["tensorrt"] == trt.runtime.backend_version("trt")


def test_an_engine_reports_its_needs_and_its_target(trt11: TensorRt) -> None:
    engine = trt11.load_plan(
        f"name net\n{DOUBLE}\nscratch 512 per_item\nlayers 3\naux_streams 2\nhardware 1", instances=3
    )
    info = trt11.runtime.engine(engine)
    assert info.instances == 3
    assert info.inputs[0].format == info.outputs[0].format
    assert {
        name: info.properties[name]
        for name in ("network", "layers", "aux_streams", "device_memory_bytes", "hardware_compatibility")
    } == {
        "network": "net",
        "layers": "3",
        "aux_streams": "2",
        "device_memory_bytes": str(8 * 512),
        "hardware_compatibility": "Ampere and later",
    }


def test_an_engine_has_two_instances_by_default(trt11: TensorRt) -> None:
    info = trt11.runtime.engine(trt11.load_plan(f"{DOUBLE}\nweights 1024"))
    assert info.instances == 2
    assert info.properties["weights_bytes"] == "1024"


def test_every_profile_of_an_input_is_reported(trt: TensorRt) -> None:
    engine = trt.load_plan(
        "input x FP32 -1 4\nprofile\nrange x 1 4 / 2 4 / 3 4\nprofile\nrange x 4 4 / 5 4 / 6 4\n"
        "output y scale x 2"
    )
    (x,) = trt.runtime.engine(engine).inputs
    assert [(p.min[0], p.opt[0], p.max[0]) for p in x.profiles] == [(1, 2, 3), (4, 5, 6)]


def test_every_profile_of_a_shape_input_is_reported(trt: TensorRt) -> None:
    engine = trt.load_plan(
        "input x FP32 4\nshape_input size INDEX 1\nprofile\nvalues size 1 / 2 / 3\n"
        "profile\nvalues size 4 / 5 / 6\noutput y fill size FP32 7"
    )
    _, size = trt.runtime.engine(engine).inputs
    assert [(v.min, v.opt, v.max) for v in size.values] == [([1], [2], [3]), ([4], [5], [6])]


def test_a_damaged_plan_is_refused_or_served(trt: TensorRt) -> None:
    """A plan of TensorRT 8.5.3 with one damaged byte was accepted more often than refused."""
    plan = trt.plan(f"{DOUBLE}\nweights 64")
    kinds = []
    for at in range(len(plan)):
        damaged = bytearray(plan)
        damaged[at] ^= 1
        try:
            trt.runtime.unload(trt.load_bytes(bytes(damaged)))
            kinds.append("served")
        except runtime_ext.Error as error:
            kinds.append(error.kind)
    assert set(kinds) == {"served", "InvalidInput"}


def test_the_inspector_reports_the_layers(trt: TensorRt) -> None:
    engine = trt.load_plan(f"{DOUBLE}\nlayers 3")
    assert json.loads(trt.runtime.layers(engine))


def test_a_plan_wrapped_by_ultralytics_is_unwrapped(trt: TensorRt) -> None:
    metadata = b'{"task": "detect"}'
    plan = len(metadata).to_bytes(4, "little") + metadata + trt.plan(DOUBLE)
    engine = trt.load_bytes(plan)
    assert trt.infer(engine, x=np.ones((1, 4), np.float32))["y"].tolist() == [[2, 2, 2, 2]]


@pytest.mark.parametrize(
    ("plan", "kind", "sentence"),
    [
        ("input x FP32 1 4 4\noutput y scale x 2\nformat x chw32", "Unsupported", "row-major linear"),
        (f"{DOUBLE}\nhost_code", "InvalidInput", "cannot load the plan: "),
        (f"{DOUBLE}\nfail deserialize it is broken", "InvalidInput", "it is broken"),
        (f"{DOUBLE}\nfail context no context today", "ExecutionFailed", "no context today"),
    ],
)
def test_a_plan_that_cannot_be_served_is_refused(trt: TensorRt, plan: str, kind: str, sentence: str) -> None:
    error = trt.refusal(plan)
    assert (error.kind, sentence in str(error)) == (kind, True), str(error)


def test_a_plan_of_a_datatype_that_no_request_carries_is_refused(trt11: TensorRt) -> None:
    error = trt11.refusal("input x FP8 4\noutput y scale x 2")
    assert (error.kind, "tensor 'x' is of type FP8" in str(error)) == ("Unsupported", True)


@pytest.mark.parametrize(
    "plan", [b"", b"ftrt", b"garbage that is not a plan at all", b"ftrt" + bytes(200), b"ptrt" + bytes(200)]
)
def test_garbage_is_refused(trt: TensorRt, plan: bytes) -> None:
    seen = trt.calls("deserializeCudaEngine")
    with pytest.raises(runtime_ext.Error) as refused:
        trt.load_bytes(plan)
    assert refused.value.kind == "InvalidInput"
    if not plan.startswith((b"ftrt", b"ptrt")):
        assert trt.calls("deserializeCudaEngine") == seen, "the library saw it"


def test_host_code_runs_if_the_operator_allows_it(tmp_path: Path) -> None:
    with running(tmp_path, sdk.V11, allow_host_code="1") as trt:
        trt.load_plan(f"{DOUBLE}\nhost_code")


def test_messages_from_tensorrt_reach_the_log(trt: TensorRt) -> None:
    trt.refusal(f"{DOUBLE}\nfail deserialize it is broken")
    assert any(r.component == "tensorrt" and "it is broken" in r.message for r in runtime_ext.take_log())


@pytest.mark.parametrize(("device", "kind"), [("cpu", "Unsupported"), ("cuda:7", "InvalidInput")])
def test_a_device_that_it_cannot_run_on_is_refused(trt: TensorRt, device: str, kind: str) -> None:
    assert trt.refusal(DOUBLE, device=device).kind == kind


def test_an_engine_is_destroyed_on_its_own_device_from_any_thread(trt: TensorRt) -> None:
    trt.device.fake_device_count_set(5)
    try:
        engine = trt.load_plan(DOUBLE, device="cuda:4")
        assert trt.infer(engine, x=np.ones((1, 4), np.float32))["y"].tolist() == [[2, 2, 2, 2]]
        trt.runtime.unload(engine)
    finally:
        trt.device.fake_device_count_set(1)


def test_without_a_device_the_library_is_not_called(trt: TensorRt) -> None:
    created = trt.calls("createInferRuntime_INTERNAL")
    trt.device.fake_device_count_set(0)
    try:
        error = trt.refusal(DOUBLE)
    finally:
        trt.device.fake_device_count_set(1)
    assert error.kind == "Unavailable"
    assert "torch sees none" in str(error)
    assert trt.calls("createInferRuntime_INTERNAL") == created


def test_a_pointer_that_came_with_an_error_is_not_used(trt: TensorRt) -> None:
    trt.sdk.fake_trt_driver_error(1)
    try:
        error = trt.refusal(DOUBLE)
    finally:
        trt.sdk.fake_trt_driver_error(0)
    assert error.kind == "Unavailable"
    assert "CUDA initialization failure with error: 35" in str(error)
    trt.load_plan(DOUBLE)  # a driver may recover
