"""Tests of failures below an engine: they have the right kind and leave nothing behind."""

import numpy as np
import pytest
import torch

from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt
from tests.seam.conftest import RunInThread

ONES = np.ones((1, 4), np.float32)
CYCLES = 200


def test_an_enqueue_that_fails_fails_its_request_and_discards_the_context(trt: TensorRt) -> None:
    engine = trt.load_plan(f"{DOUBLE}\nfail_on 7", instances=1, cuda_graphs="off")
    created = trt.contexts_created()
    failed = trt.failure(engine, x=7 * ONES)
    assert failed.kind == "ExecutionFailed"
    assert "the input has the value of fail_on" in failed.message
    assert trt.counters(engine)["contexts_discarded"] == 1
    assert trt.infer(engine, x=ONES)["y"].tolist() == [[2, 2, 2, 2]]
    assert trt.contexts_created() == created + 1
    assert trt.live("context") == 1


def test_a_context_is_discarded_only_once_its_work_is_done(trt: TensorRt, run_in_thread: RunInThread) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"input x FP32 4\noutput where nonzero x\nfail notify no shape\ngate {gate}")
    module = trt.module(engine)
    x = torch.ones(4, device="fake")

    def call(x: torch.Tensor) -> None:
        with pytest.raises(RuntimeError, match="TensorRT did not report the shape of output 'where'"):
            module(x)
        torch.accelerator.synchronize()

    called = run_in_thread(call, x)
    trt.wait_for(gate, 1)
    trt.device.fake_device_await_waiting(1)
    trt.open(gate)
    called.result()
    del x


@pytest.mark.parametrize(
    ("step", "kind", "sentence"),
    [
        ("shape", "InvalidInput", "TensorRT does not accept shape [1, 4] for input 'x': "),
        ("infer", "InvalidInput", "TensorRT cannot infer the outputs' shapes from these inputs: "),
        ("enqueue", "ExecutionFailed", "TensorRT could not run the engine: "),
    ],
)
def test_a_step_that_fails_ends_the_execution_and_says_why(
    trt: TensorRt, step: str, kind: str, sentence: str
) -> None:
    engine = trt.load_plan(f"{DOUBLE}\nfail {step} it broke")
    failed = trt.failure(engine, x=ONES)
    assert failed.kind == kind
    assert sentence in failed.message
    assert "it broke" in failed.message


def test_a_device_without_memory_for_the_weights_is_unavailable(trt: TensorRt) -> None:
    trt.device.fake_device_limit(1 << 20)
    error = trt.refusal(f"{DOUBLE}\nweights 2097152")
    assert error.kind == "Unavailable", str(error)
    trt.device.fake_device_limit(-1)
    trt.load_plan(f"{DOUBLE}\nweights 2097152")


def test_an_allocation_of_tensorrts_own_that_fails_is_unavailable(trt: TensorRt) -> None:
    error = trt.refusal(f"{DOUBLE}\nfail allocate no room for the weights")
    assert (error.kind, "no room for the weights" in str(error)) == ("Unavailable", True)


def test_a_device_without_memory_for_an_execution_is_unavailable_for_it_alone(trt11: TensorRt) -> None:
    engine = trt11.load_plan(f"{DOUBLE}\nscratch 1048576 per_item", cuda_graphs="off")
    trt11.device.fake_device_limit(trt11.device.fake_device_memory() + (3 << 20))
    failed = trt11.failure(engine, x=np.ones((8, 4), np.float32))
    assert failed.kind == "Unavailable", failed.message
    assert trt11.infer(engine, x=ONES)["y"].tolist() == [[2, 2, 2, 2]]


def test_failed_loads_free_every_byte(trt: TensorRt) -> None:
    trt.load_plan(DOUBLE)
    before = trt.device.fake_device_memory(), trt.sdk.fake_trt_allocated(), trt.live("engine")
    for _ in range(CYCLES):
        trt.refusal(f"{DOUBLE}\nweights 4096\nfail context no")
    assert (trt.device.fake_device_memory(), trt.sdk.fake_trt_allocated(), trt.live("engine")) == before


def test_loads_and_unloads_free_every_byte(trt: TensorRt) -> None:
    trt.load_plan(DOUBLE)
    before = trt.device.fake_device_memory(), trt.sdk.fake_trt_allocated(), trt.live("context")
    for _ in range(CYCLES):
        engine = trt.load_plan(f"{DOUBLE}\nweights 4096\nscratch 8192")
        trt.infer(engine, x=ONES)
        trt.runtime.unload(engine)
    assert (trt.device.fake_device_memory(), trt.sdk.fake_trt_allocated(), trt.live("context")) == before


def test_more_threads_than_contexts_share_an_engine(trt: TensorRt, run_in_thread: RunInThread) -> None:
    engine = trt.load_plan(f"{DOUBLE}\nscratch 4096 per_item", instances=3)

    def client(number: int) -> bool:
        module = trt.module(engine)
        for round_ in range(25):
            x = torch.full((1 + (number + round_) % 8, 4), float(number))
            if not torch.equal(module(x), 2 * x):
                return False
        return True

    assert all(future.result() for future in [run_in_thread(client, number) for number in range(12)])


def test_a_sticky_error_makes_the_device_dead_and_its_engines_unavailable(
    trt: TensorRt, doomed_device: int
) -> None:
    good = trt.load_plan(DOUBLE, device=f"cuda:{doomed_device}")
    bad = trt.load_plan(f"{DOUBLE}\nfail kernel an illegal address", device=f"cuda:{doomed_device}")
    assert trt.infer(good, x=ONES)["y"].tolist() == [[2, 2, 2, 2]]
    failed = trt.failure(bad, x=ONES)
    assert failed.kind == "Unavailable"
    assert "an illegal address" in failed.message
    assert "an illegal address" in trt.runtime.dead_devices()[f"fake:{doomed_device}"]
    refused = trt.failure(good, x=ONES)
    assert refused.kind == "Unavailable"
    assert f"device fake:{doomed_device} is dead" in refused.message


def test_a_sticky_error_that_tensorrt_sees_first_makes_the_device_dead(
    trt: TensorRt, doomed_device: int
) -> None:
    engine = trt.load_plan(DOUBLE, device=f"cuda:{doomed_device}", cuda_graphs="off")
    module = trt.module(engine)
    x = torch.ones(1, 4, device=f"fake:{doomed_device}")
    stream = torch.Stream(f"fake:{doomed_device}")
    trt.device.fake_device_break(b"an illegal address")
    with stream, pytest.raises(RuntimeError, match=r"could not run the engine: .*an illegal address"):
        module(x)
    assert "an illegal address" in trt.runtime.dead_devices()[f"fake:{doomed_device}"]
    del x


def test_a_plan_is_not_blamed_for_a_device_that_has_died(trt: TensorRt, doomed_device: int) -> None:
    trt.device.fake_device_break(b"an illegal address")
    error = trt.refusal(DOUBLE, device=f"cuda:{doomed_device}")
    assert (error.kind, "an illegal address" in str(error)) == ("Unavailable", True)
    assert f"fake:{doomed_device}" in trt.runtime.dead_devices()


def test_an_engine_without_memory_for_its_contexts_is_unavailable(trt: TensorRt) -> None:
    plan = f"{DOUBLE}\nweights 1048576"
    trt.runtime.unload(trt.load_plan(plan))
    trt.device.fake_device_limit(trt.device.fake_device_memory() + 1048576)
    assert trt.refusal(plan).kind == "Unavailable"


def test_a_lack_of_memory_is_reported_without_a_stack_trace(trt: TensorRt) -> None:
    engine = trt.load_plan("input x FP32 1048576\noutput y scale x 2", instances=1)
    trt.device.fake_device_limit(trt.device.fake_device_memory())
    failed = trt.failure(engine, x=np.ones(1048576, np.float32))
    trt.device.fake_device_limit(-1)
    assert (failed.kind, "\n" in failed.message) == ("Unavailable", False)
    assert "needs more memory than fake:0 has" in failed.message


def test_a_name_that_is_not_utf8_is_shown_as_far_as_possible(trt: TensorRt) -> None:
    plan = trt.plan(f"name caf?\n{DOUBLE}").replace(b"caf?", b"caf\xe9")
    info = trt.runtime.engine(trt.load_bytes(plan))
    assert info.properties["network"] == "caf\ufffd"


def test_a_device_does_not_count_as_dead_while_a_caller_captures(trt: TensorRt) -> None:
    module = trt.module(trt.load_plan(f"{DOUBLE}\nfail enqueue it broke"))
    x = torch.ones(1, 4, device="fake")
    stream = torch.Stream("fake")
    trt.device.fake_capture_begin(stream.native_handle)
    with stream, pytest.raises(RuntimeError, match="it broke"):
        module(x)
    trt.device.fake_capture_end(stream.native_handle)
    trt.device.fake_breaches_clear()  # from the capture, which permits no waiting
    assert "fake:0" not in trt.runtime.dead_devices()
    del x
