"""An engine on several devices: one ID and one queue, and a replica on each device."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from tests.seam.backends.tensorrt.conftest import DOUBLE, TensorRt
from tests.seam.conftest import to_numpy

ONES = np.ones((1, 4), np.float32)
TWOS = [[2, 2, 2, 2]]
REASON = b"an illegal address"

Pair = tuple[int, int]


@pytest.fixture
def two_devices(trt: TensorRt) -> Iterator[None]:
    trt.device.fake_device_count_set(2)
    yield
    trt.runtime.close()
    trt.await_end_of_engines()  # each needs its device
    trt.device.fake_device_count_set(1)


def on(pair: Pair) -> str:
    """The option `device` for both."""
    return ",".join(f"cuda:{index}" for index in pair)


def answers(trt: TensorRt, tickets: list[int]) -> list[object]:
    completions = trt.wait(*tickets)
    assert [completion.message for completion in completions if completion.kind] == []
    return [to_numpy(completion.outputs[0]).tolist() for completion in completions]


@pytest.mark.parametrize("option", ["all", "cuda:0,cuda:1"])
def test_an_engine_has_a_replica_on_each_of_its_devices(
    trt: TensorRt, two_devices: None, option: str
) -> None:
    engine = trt.load_plan(DOUBLE, device=option, instances=3)
    info = trt.runtime.engine(engine)
    assert (info.device, info.devices) == ("fake:0,fake:1", ["fake:0", "fake:1"])
    assert info.instances == 3
    assert trt.stats(engine).instances == 6


@pytest.mark.parametrize(
    ("option", "devices"),
    [("all", ["cuda:0", "cuda:1"]), ("cuda:1,cuda", ["cuda:1", "cuda:0"]), ("auto", ["cuda:0"])],
)
def test_the_devices_of_an_option_are_known_before_a_load(
    trt: TensorRt, two_devices: None, option: str, devices: list[str]
) -> None:
    assert trt.runtime.devices_of("trt", option) == devices


def test_the_order_of_the_replicas_is_that_of_the_option(trt: TensorRt, two_devices: None) -> None:
    assert trt.runtime.engine(trt.load_plan(DOUBLE, device="cuda:1,cuda:0")).devices == ["fake:1", "fake:0"]


@pytest.mark.parametrize(
    ("option", "kind", "message"),
    [
        ("cuda:0,cuda", "InvalidInput", "device names cuda:0 twice"),
        ("cuda:0,cuda:7", "InvalidInput", "device is 'cuda:7'; this machine has 2 CUDA devices"),
        ("cuda:0,cpu", "Unsupported", "device is 'cpu'; the tensorrt backend runs on cuda"),
        ("cuda:0,,cuda:1", "Unsupported", "device is ''"),
    ],
)
def test_devices_that_there_are_not_are_refused(
    trt: TensorRt, two_devices: None, option: str, kind: str, message: str
) -> None:
    error = trt.refusal(DOUBLE, device=option)
    assert error.kind == kind
    assert message in str(error)


def test_requests_run_on_all_devices_at_the_same_time(trt: TensorRt, two_devices: None) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}", device="all", instances=1)
    tickets = [trt.submit(engine, x=ONES) for _ in range(2)]
    trt.wait_for(gate, 2)
    trt.open(gate)
    assert answers(trt, tickets) == [TWOS, TWOS]


def test_a_request_goes_to_the_device_that_does_the_least_for_the_engine(
    trt: TensorRt, two_devices: None
) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}", device="all", instances=2)
    first = trt.submit(engine, x=ONES)
    trt.wait_for(gate, 1)
    second = trt.submit(engine, x=ONES)
    trt.wait_for(gate, 2)
    # Each device has one: if both were on one, its two instances would share it, and the other would idle.
    busy = [trt.device.fake_busy_streams(index) for index in (0, 1)]
    trt.open(gate)
    assert answers(trt, [first, second]) == [TWOS, TWOS]
    assert busy == [1, 1]


def test_an_engine_opens_nothing_on_a_device_that_it_does_not_use(
    trt: TensorRt, doomed_devices: Pair
) -> None:
    untouched, used = doomed_devices
    engine = trt.load_plan(DOUBLE, device=f"cuda:{used}")
    assert trt.infer(engine, x=ONES)["y"].tolist() == TWOS
    assert trt.module(engine)(torch.ones(1, 4)).tolist() == TWOS
    trt.runtime.unload(engine)
    assert trt.device.fake_device_touched(used)
    assert not trt.device.fake_device_touched(untouched)


@pytest.mark.parametrize("index", [0, 1])
def test_the_operator_uses_the_replica_on_the_callers_device(
    trt: TensorRt, two_devices: None, index: int
) -> None:
    gate = trt.new_gate()
    module = trt.module(trt.load_plan(f"{DOUBLE}\ngate {gate}", device="all", instances=1, cuda_graphs="off"))
    y = module(torch.ones(1, 4, device=f"fake:{index}"))
    trt.wait_for(gate, 1)
    busy = [trt.device.fake_busy_streams(device) for device in (0, 1)]
    trt.open(gate)
    assert busy[index] > 0
    assert busy[1 - index] == 0
    assert (y.device, y.tolist()) == (torch.device("fake", index), TWOS)


def test_the_operator_takes_tensors_on_the_host_to_one_of_the_devices(
    trt: TensorRt, two_devices: None
) -> None:
    module = trt.module(trt.load_plan(DOUBLE, device="all"))
    assert module(torch.ones(1, 4)).tolist() == TWOS


def outputs_of(engine: int, mode: FakeTensorMode, x: torch.Tensor) -> tuple[torch.device, torch.device]:
    """The devices of the operator's output and of the fake kernel's."""
    (real,) = torch.ops.trt.execute_engine_list(engine, [x])
    with mode:
        (fake,) = torch.ops.trt.execute_engine_list(engine, [mode.from_tensor(x)])
    return real.device, fake.device


@pytest.mark.parametrize("current", [0, 1])
def test_the_fake_kernel_leaves_outputs_of_several_devices_where_the_operator_does(
    trt: TensorRt, two_devices: None, current: int
) -> None:
    engine = trt.load_plan(DOUBLE, device="all", cuda_graphs="off")
    shaped = f"shape_input size {trt.generation.index} 2\nprofile\nvalues size 1 1 / 2 2 / 3 4\n"
    of_host = trt.load_plan(f"{shaped}output y fill size FP32 7", device="all")
    size = torch.tensor([2, 3], dtype=getattr(torch, trt.generation.index.lower()))
    mode = FakeTensorMode(shape_env=ShapeEnv())
    with torch.accelerator.device_index(current):
        assert outputs_of(of_host, mode, size) == (torch.device("fake", current),) * 2
        for device in ("cpu", "fake:0", "fake:1"):
            assert outputs_of(engine, mode, torch.ones(1, 4, device=device)) == (torch.device(device),) * 2


def test_a_load_that_fails_on_one_device_leaves_nothing_on_the_others(
    trt: TensorRt, two_devices: None
) -> None:
    before = trt.device.fake_device_memory()
    trt.device.fake_device_limit(before + 1048576)
    assert trt.refusal(f"{DOUBLE}\nweights 1048576", device="all").kind == "Unavailable"
    assert trt.device.fake_device_memory() == before


# -- a device dies


@pytest.fixture
def kill(trt: TensorRt, doomed_devices: Pair) -> Callable[[int], None]:
    """Let one of the two devices die, by its number in the pair."""
    return lambda number: trt.device.fake_device_break_one(doomed_devices[number], REASON)


def test_the_requests_of_a_dead_device_run_on_another(
    trt: TensorRt, doomed_devices: Pair, kill: Callable[[int], None]
) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}", device=on(doomed_devices), instances=1)
    tickets = [trt.submit(engine, x=ONES) for _ in range(6)]
    trt.wait_for(gate, 2)
    kill(0)
    trt.open(gate)
    assert answers(trt, tickets) == [TWOS] * 6
    dead, alive = (f"fake:{index}" in trt.runtime.dead_devices() for index in doomed_devices)
    assert (dead, alive) == (True, False)


def test_later_requests_run_on_the_device_that_is_left(
    trt: TensorRt, doomed_devices: Pair, kill: Callable[[int], None]
) -> None:
    engine = trt.load_plan(DOUBLE, device=on(doomed_devices), instances=2)
    kill(1)
    for _ in range(8):
        assert answers(trt, [trt.submit(engine, x=ONES) for _ in range(4)]) == [TWOS] * 4
    assert trt.stats(engine).failed_executions <= 2


def test_an_engine_learns_from_another_that_a_device_is_dead(
    trt: TensorRt, doomed_devices: Pair, kill: Callable[[int], None]
) -> None:
    first = trt.load_plan(DOUBLE, device=on(doomed_devices))
    other = trt.load_plan(f"{DOUBLE}\nweights 512", device=on(doomed_devices[::-1]), instances=1)
    kill(0)
    assert answers(trt, [trt.submit(first, x=ONES) for _ in range(4)]) == [TWOS] * 4
    assert answers(trt, [trt.submit(other, x=ONES) for _ in range(4)]) == [TWOS] * 4
    assert trt.stats(other).outcomes["Success"] == 4


def test_an_engine_whose_devices_are_all_dead_is_unavailable(
    trt: TensorRt, doomed_devices: Pair, kill: Callable[[int], None]
) -> None:
    engine = trt.load_plan(DOUBLE, device=on(doomed_devices), instances=1)
    kill(0)
    assert trt.infer(engine, x=ONES)["y"].tolist() == TWOS
    kill(1)
    for _ in range(3):
        assert trt.failure(engine, x=ONES).kind == "Unavailable"


@pytest.mark.parametrize("is_known", [True, False])
def test_an_engine_that_is_loaded_later_has_its_replicas_on_the_devices_that_are_left(
    trt: TensorRt, doomed_devices: Pair, kill: Callable[[int], None], is_known: bool
) -> None:
    first = trt.load_plan(DOUBLE, device=f"cuda:{doomed_devices[0]}")
    kill(0)
    if is_known:
        assert trt.failure(first, x=ONES).kind == "Unavailable"
    engine = trt.load_plan(DOUBLE, device=on(doomed_devices), instances=2)
    assert trt.runtime.engine(engine).devices == [f"fake:{doomed_devices[1]}"]
    assert answers(trt, [trt.submit(engine, x=ONES) for _ in range(4)]) == [TWOS] * 4


def test_an_engine_is_not_loaded_if_none_of_its_devices_is_left(
    trt: TensorRt, doomed_devices: Pair, kill: Callable[[int], None]
) -> None:
    kill(0)
    kill(1)
    error = trt.refusal(DOUBLE, device=on(doomed_devices))
    assert error.kind == "Unavailable"
    assert "an illegal address" in str(error)


def test_the_operator_leaves_a_dead_device_if_the_callers_tensors_are_elsewhere(
    trt: TensorRt, doomed_devices: Pair, kill: Callable[[int], None]
) -> None:
    engine = trt.load_plan(DOUBLE, device=on(doomed_devices), cuda_graphs="off")
    module = trt.module(engine)
    kill(0)
    with pytest.raises(RuntimeError, match="an illegal address"):
        module(torch.ones(1, 4))  # the first replica, which is not known to be dead
    assert module(torch.ones(1, 4)).tolist() == TWOS
    assert module(torch.ones(1, 4, device=f"fake:{doomed_devices[1]}")).tolist() == TWOS


def test_an_unload_ends_the_requests_of_a_dead_device(
    trt: TensorRt, doomed_devices: Pair, kill: Callable[[int], None]
) -> None:
    gate = trt.new_gate()
    engine = trt.load_plan(f"{DOUBLE}\ngate {gate}", device=on(doomed_devices), instances=1)
    tickets = [trt.submit(engine, x=ONES) for _ in range(4)]
    trt.wait_for(gate, 2)
    kill(0)
    trt.open(gate)
    trt.runtime.unload(engine)
    assert answers(trt, tickets) == [TWOS] * 4
