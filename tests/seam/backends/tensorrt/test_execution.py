"""Tests that run plans of every kind through the scheduler and through the wrapper."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

import runtime_ext
from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt
from tests.seam.conftest import NUMPY, RunInThread


def rows(batch: int) -> np.ndarray:
    return np.arange(batch * 4, dtype=np.float32).reshape(batch, 4)


def test_a_request_is_computed(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE)
    assert np.array_equal(trt.infer(engine, x=rows(3))["y"], 2 * rows(3))


def test_the_wrapper_accepts_and_returns_device_tensors(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE)
    x = torch.ones(2, 4, device="fake")
    y = trt.module(engine)(x)
    assert y.device.type == "fake"
    assert torch.equal(y.cpu(), torch.full((2, 4), 2.0))
    del x, y


def test_the_wrapper_accepts_and_returns_host_tensors(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE)
    y = trt.module(engine)(torch.ones(2, 4))
    assert y.device.type == "cpu"
    assert torch.equal(y, torch.full((2, 4), 2.0))


def test_strided_and_unaligned_tensors_are_accepted(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE)
    wide = torch.arange(18.0).to("fake")
    strided = wide[:16].view(2, 8)[:, ::2]
    unaligned = wide[1:9].view(2, 4)
    module = trt.module(engine)
    assert module(strided).cpu().tolist() == [[0, 4, 8, 12], [16, 20, 24, 28]]
    assert module(unaligned).cpu().tolist() == [[2, 4, 6, 8], [10, 12, 14, 16]]
    del wide, strided, unaligned


def test_several_inputs_and_outputs_keep_their_names(trt: TensorRt) -> None:
    engine = trt.load_plan(
        "input a FP32 2\ninput b FP32 2\noutput sum add a b\noutput triple scale b 3\noutput i cast a INT32"
    )
    a, b = np.float32([1, 2]), np.float32([10, 20])
    outputs = trt.infer(engine, a=a, b=b)
    assert list(outputs) == ["sum", "triple", "i"]
    assert outputs["sum"].tolist() == [11, 22]
    assert outputs["triple"].tolist() == [30, 60]
    assert outputs["i"].dtype == np.int32
    assert outputs["i"].tolist() == [1, 2]


@pytest.mark.parametrize("datatype", ["FP32", "FP16", "INT8", "UINT8", "INT32", "INDEX"])
def test_numbers_of_every_datatype_are_doubled(trt: TensorRt, datatype: str) -> None:
    engine = trt.load_plan(f"input x {datatype} 3\noutput y scale x 2")
    x = trt.sizes(1, 2, 3) if datatype == "INDEX" else np.array([1, 2, 3], NUMPY[datatype])
    y = trt.infer(engine, x=x)["y"]
    assert y.dtype == x.dtype
    assert y.tolist() == [2, 4, 6]


def test_bfloat16_passes(trt11: TensorRt) -> None:
    engine = trt11.load_plan("input x BF16 2\noutput y scale x 2")
    assert trt11.module(engine)(torch.tensor([1.5, 2.5], dtype=torch.bfloat16)).tolist() == [3.0, 5.0]


def test_bool_passes(trt: TensorRt) -> None:
    engine = trt.load_plan("input x FP32 2\noutput y cast x BOOL")
    assert trt.infer(engine, x=np.float32([0, 2]))["y"].tolist() == [False, True]


def test_a_scalar_passes(trt: TensorRt) -> None:
    engine = trt.load_plan("input x FP32\noutput y scale x 2")
    assert trt.infer(engine, x=np.float32(21).reshape(()))["y"].item() == 42


def test_an_empty_tensor_passes(trt: TensorRt) -> None:
    engine = trt.load_plan("input x FP32 -1 4\nprofile\nrange x 0 4 / 4 4 / 8 4\noutput y scale x 2")
    assert trt.infer(engine, x=rows(0))["y"].shape == (0, 4)
    assert np.array_equal(trt.infer(engine, x=rows(2))["y"], 2 * rows(2))


def test_an_output_whose_shape_depends_on_the_data_has_its_shape(trt: TensorRt) -> None:
    engine = trt.load_plan("input x FP32 6\noutput where nonzero x\noutput y scale x 2")
    for x in ([0, 1, 0, 2, 0, 3], [0] * 6, [1] * 6):
        outputs = trt.infer(engine, x=np.float32(x))
        assert outputs["where"].dtype == trt.sizes().dtype
        assert outputs["where"].tolist() == np.flatnonzero(x).tolist()
        assert outputs["y"].tolist() == [2 * value for value in x]
    y, where = trt.module(engine)(torch.tensor([0.0, 5, 0, 0, 0, 0], device="fake"))[::-1]
    assert where.cpu().tolist() == [1]
    assert y.cpu().tolist() == [0, 10, 0, 0, 0, 0]
    del y, where


def test_an_output_whose_shape_depends_on_the_data_has_its_shape_for_every_shape_of_the_input(
    trt: TensorRt,
) -> None:
    """After an execution, TensorRT keeps reporting the shape that it found then, and 8.5.3 asks for memory
    of that size."""
    engine = trt.load_plan(
        "input x FP32 -1\nprofile\nrange x 1 / 4 / 999\noutput where nonzero x", instances=1
    )
    for x in ([0, 1, 0], [1, 2, 3, 4, 5, 6], [3], [1, 0] * 400, [0] * 9, [7] * 999):
        assert trt.infer(engine, x=np.float32(x))["where"].tolist() == np.flatnonzero(x).tolist()


SHAPED = "shape_input size INDEX 2\nprofile\nvalues size 1 1 / 2 2 / 4 8\noutput y fill size FP32 7\n"


def test_a_shape_tensor_decides_a_shape_from_the_host(trt: TensorRt) -> None:
    engine = trt.load_plan(SHAPED)
    for shape in ((2, 3), (4, 8), (1, 1), (2, 3)):
        y = trt.infer(engine, size=trt.sizes(*shape))["y"]
        assert y.shape == shape
        assert (y == 7).all()
    assert trt.module(engine)(torch.from_numpy(trt.sizes(2, 2))).shape == (2, 2)


@pytest.mark.parametrize("devices", [("cpu", "cpu"), ("cpu", "fake"), ("fake", "cpu"), ("fake", "fake")])
@pytest.mark.parametrize(
    "plan",
    [
        f"{SHAPED}",  # only an input on the host
        "input x FP32 -1 4\nshape_input size INDEX 2\nprofile\nrange x 1 4 / 2 4 / 8 4\n"
        "values size 1 1 / 2 2 / 4 8\noutput y scale x 2\noutput z fill size FP32 7\noutput n shape_of x\n",
        "shape_input size INDEX 2\ninput x FP32 -1 4\nprofile\nrange x 1 4 / 2 4 / 8 4\n"
        "values size 1 1 / 2 2 / 4 8\noutput z fill size FP32 7\noutput y scale x 2\n",
    ],
)
def test_the_fake_kernel_and_the_operator_agree_on_the_device(
    trt: TensorRt, plan: str, devices: tuple[str, str]
) -> None:
    engine = trt.load_plan(plan)
    specs = trt.runtime.engine(engine).inputs
    inputs = [
        (torch.ones(2, 4) if spec.name == "x" else torch.from_numpy(trt.sizes(2, 2))).to(device)
        for spec, device in zip(specs, devices, strict=False)
    ]
    real = [output.device for output in torch.ops.trt.execute_engine_list(engine, inputs)]
    with FakeTensorMode(shape_env=ShapeEnv()) as mode:
        fakes = [mode.from_tensor(given) for given in inputs]
        traced = [output.device for output in torch.ops.trt.execute_engine_list(engine, fakes)]
    assert traced == real
    del inputs


def test_values_on_the_host_are_set_for_every_execution(trt: TensorRt) -> None:
    """isShapeInferenceIO reports inputs that decide an output's shape; other inputs may be on the host
    too."""
    engine = trt.load_plan(f"{SHAPED}quiet size\n")
    for shape in ((2, 3), (4, 8), (2, 3)):
        assert trt.infer(engine, size=trt.sizes(*shape))["y"].shape == shape


def test_values_outside_every_profile_are_refused(trt: TensorRt) -> None:
    engine = trt.load_plan(SHAPED)
    failed = trt.failure(engine, size=trt.sizes(5, 1))
    assert failed.kind == "InvalidInput"
    assert "'size' [2] of values [5, 1]" in failed.message
    assert "values of 'size' from [1, 1] to [4, 8]" in failed.message
    assert trt.infer(engine, size=trt.sizes(1, 2))["y"].shape == (1, 2)


def test_an_output_on_the_host_is_waited_for(trt: TensorRt, run_in_thread: RunInThread) -> None:
    module = trt.module(trt.load_plan(f"{DOUBLE}\noutput shape shape_of x"))
    x = torch.ones(3, 4, device="fake")
    torch.accelerator.synchronize()
    stream = torch.Stream("fake")
    trt.device.fake_stream_hold(stream.native_handle)

    def call(x: torch.Tensor) -> list[int]:
        with stream:
            shape = module(x)[1].tolist()
        stream.synchronize()
        return shape

    called = run_in_thread(call, x)
    trt.device.fake_device_await_waiting(1)
    trt.device.fake_device_release()
    assert called.result() == [3, 4]
    del x


def test_an_output_on_the_host_is_ready_when_the_call_returns(trt: TensorRt) -> None:
    plan = f"{DOUBLE}\noutput shape shape_of x"
    engine = trt.load_plan(plan)
    assert trt.infer(engine, x=rows(3))["shape"].tolist() == [3, 4]
    assert trt.module(engine)(torch.ones(5, 4))[1].tolist() == [5, 4]


PROFILES = (
    "input x FP32 -1 4\ninput k FP32 -1 4\n"
    "profile\nrange x 1 4 / 1 4 / 8 4\nrange k 1 4 / 1 4 / 8 4\n"
    "profile\nrange x 8 4 / 16 4 / 32 4\nrange k 8 4 / 16 4 / 32 4\n"
    "output y add x k"
)


@pytest.mark.parametrize("batch", [1, 7, 8, 16, 32])
def test_every_profile_is_usable(trt: TensorRt, batch: int) -> None:
    engine = trt.load_plan(PROFILES, instances=1)
    assert np.array_equal(trt.infer(engine, x=rows(batch), k=rows(batch))["y"], 2 * rows(batch))


def test_the_fitting_profile_with_the_nearest_optimum_is_used(trt: TensorRt) -> None:
    engine = trt.load_plan(
        "input x FP32 -1 4\nprofile\nrange x 1 4 / 32 4 / 32 4\nprofile\nrange x 1 4 / 2 4 / 8 4\n"
        "output y scale x 2",
        cuda_graphs="off",
    )
    for batch, profile in ((1, 1), (3, 1), (32, 0), (9, 0), (8, 1)):
        taken = trt.calls(f"enqueueV3 on profile {profile}")
        trt.infer(engine, x=rows(batch))
        assert trt.calls(f"enqueueV3 on profile {profile}") == taken + 1, batch


def test_profiles_are_never_switched_once_an_engine_is_loaded(trt: TensorRt) -> None:
    engine = trt.load_plan(PROFILES, instances=2)
    assert trt.live("context") == 4
    switches = trt.calls("setOptimizationProfileAsync")
    for batch in (1, 32, 2, 16):
        trt.infer(engine, x=rows(batch), k=rows(batch))
    assert trt.calls("setOptimizationProfileAsync") == switches


def test_inputs_that_fit_only_different_profiles_are_refused(trt: TensorRt) -> None:
    engine = trt.load_plan(PROFILES)
    sentence = r"no profile of the engine takes these inputs together: 'x' \[1, 4\], 'k' \[32, 4\]"
    with pytest.raises(runtime_ext.Error, match=sentence):
        trt.submit(engine, x=rows(1), k=rows(32))
    assert trt.stats(engine).outcomes["InvalidInput"] == 1


def test_shapes_are_set_in_tensorrt_only_when_they_change(trt: TensorRt) -> None:
    engine = trt.load_plan(DOUBLE, instances=1, cuda_graphs="off")
    trt.infer(engine, x=rows(2))
    before = trt.calls("setInputShape"), trt.calls("inferShapes")
    for _ in range(3):
        trt.infer(engine, x=rows(2))
    assert (trt.calls("setInputShape"), trt.calls("inferShapes")) == before
    trt.infer(engine, x=rows(3))
    assert trt.calls("setInputShape") == before[0] + 1


def test_scratch_memory_is_that_of_the_largest_execution_not_of_all_profiles(trt11: TensorRt) -> None:
    engine = trt11.load_plan(f"{PROFILES}\nscratch 4096 per_item", instances=1, cuda_graphs="off")
    assert trt11.counters(engine)["scratch_bytes"] == 0
    sizes = []
    for batch in (2, 32, 4, 16):
        trt11.infer(engine, x=rows(batch), k=rows(batch))
        sizes.append(trt11.counters(engine)["scratch_bytes"])
    assert sizes == [2 * 4096, 32 * 4096, 32 * 4096, 32 * 4096]


def test_auxiliary_streams_do_not_change_results(trt: TensorRt) -> None:
    engine = trt.load_plan(f"{DOUBLE}\naux_streams 2")
    assert np.array_equal(trt.infer(engine, x=rows(2))["y"], 2 * rows(2))
