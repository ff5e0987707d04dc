"""The closed loop: its requests, their number outstanding, and the resulting figures."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime_ext import Error
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, LoadOptions, ShapeRange, TensorSpec
from tests.fakes.values import EngineInfo, error
from trtserve.client.random_inputs import read_shape
from trtserve.errors import ExecutionFailed, InvalidInput
from trtserve.tune.closed_loop import ClosedLoop, Request, Sample, request_for, sample

Loop = Callable[[FakeRuntime], ClosedLoop]

ENGINE = 3


def engine(*inputs: TensorSpec) -> Any:
    return EngineInfo(ENGINE, "", "openvino", "cpu", 1, 256, list(inputs), [])


def shapes(request: Request) -> dict[str, list[int]]:
    return {name: shape for name, _, shape in request.tensors}


# -- the requests


def test_a_shape_is_read_up_to_the_last_colon() -> None:
    assert read_shape("x:1,3,224,224") == ("x", [1, 3, 224, 224])
    assert read_shape("model/x:0:8") == ("model/x:0", [8])
    assert read_shape("scalar:") == ("scalar", [])


@pytest.mark.parametrize("text", ["x", "1,3", ":1", "x:1,", "x:-1", "x:1;2"])
def test_a_malformed_shape_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not an input's shape: write it as x:1,3,224,224"):
        read_shape(text)


def test_a_request_is_one_item_of_the_profiles_best_shape() -> None:
    profile = ShapeRange([1, 16], [8, 128], [32, 512])
    info = engine(TensorSpec("ids", "INT64", [-1, -1], [profile]), TensorSpec("x", "FP32", [-1, 3, -1]))
    request = request_for(info, {}, {})
    assert shapes(request) == {"ids": [1, 128], "x": [1, 3, 1]}
    assert request.items == 1
    assert [data.shape for data in request.data] == [(1, 128), (1, 3, 1)]
    assert [data.dtype for data in request.data] == [np.int64, np.float32]


def test_the_profile_for_the_fewest_items_is_used() -> None:
    profiles = [ShapeRange([8, 4], [8, 4], [8, 4]), ShapeRange([2, 5], [4, 6], [4, 7])]
    request = request_for(engine(TensorSpec("x", "FP32", [-1, -1], profiles)), {}, {})
    assert shapes(request) == {"x": [2, 6]}
    assert request.items == 2


def test_the_batch_dimension_can_be_another_than_the_first() -> None:
    profile = ShapeRange([10, 1], [20, 8], [30, 16])
    request = request_for(engine(TensorSpec("x", "FP32", [-1, -1], [profile])), {"x": 1}, {})
    assert shapes(request) == {"x": [20, 1]}
    request = request_for(engine(TensorSpec("x", "FP32", [-1, -1])), {"x": 1}, {"x": [7, 3]})
    assert request.items == 3


def test_a_request_of_an_engine_with_a_fixed_batch_is_one_item() -> None:
    request = request_for(engine(TensorSpec("x", "FP32", [8, 3])), {}, {})
    assert shapes(request) == {"x": [8, 3]}
    assert request.items == 1


def test_given_shapes_are_used_and_wrong_ones_refused() -> None:
    info = engine(TensorSpec("x", "FP32", None))
    with pytest.raises(InvalidInput, match="give its shape with --shape x:1,"):
        request_for(info, {}, {})
    request = request_for(info, {}, {"x": [4, 2]})
    assert shapes(request) == {"x": [4, 2]}
    assert request.items == 4
    with pytest.raises(InvalidInput, match="no input 'z'; its inputs are x"):
        request_for(info, {}, {"z": [1]})


@pytest.mark.parametrize("datatype", ["BOOL", "UINT8", "INT8", "INT32", "FP16", "BF16", "FP32", "FP64"])
@pytest.mark.parametrize("shape", [[64], []])
def test_data_is_finite_and_the_same_every_time(datatype: str, shape: list[int]) -> None:
    info = engine(TensorSpec("x", datatype, shape))
    (data,), (again,) = request_for(info, {}, {}).data, request_for(info, {}, {}).data
    assert data.shape == tuple(shape)
    np.testing.assert_array_equal(data, again)
    values = (data.astype(np.uint32) << 16).view(np.float32) if datatype == "BF16" else data
    assert np.all((values >= 0) & (values <= 1))


def test_values_that_decide_shapes_come_from_the_profiles_optimum() -> None:
    spec = TensorSpec("size", "INT32", [2], values=[ShapeRange([1, 1], [224, 320], [999, 999])])
    (data,) = request_for(engine(spec), {}, {}).data
    assert data.tolist() == [224, 320]
    assert data.dtype == np.int32


# -- the measurement


class Ticking:
    """A clock that advances by one second at every reading."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class Watched(FakeRuntime):
    """Ends one waiting request whenever completions are taken; the others stay."""

    def __init__(self) -> None:
        super().__init__()
        self.outstanding: list[int] = []
        self.hold()

    def submit(self, *given: Any) -> int:
        ticket = super().submit(*given)
        self.outstanding.append(len(self.waiting))
        self._signal()
        return ticket

    def take_completions(self) -> list[Any]:
        if self._waiting:
            self._run(next(iter(self._waiting.values())))
        taken = super().take_completions()
        self._signal()
        return taken

    def _signal(self) -> None:
        if self._waiting:
            os.eventfd_write(self._fd, 1)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    plan = tmp_path / "a.onnx"
    plan.write_bytes(onnx_plan())

    def make(runtime: FakeRuntime) -> ClosedLoop:
        runtime.load(ENGINE, str(plan), "openvino", LoadOptions())
        request = request_for(runtime.engine(ENGINE), {}, {})  # type: ignore[arg-type]
        prepared = runtime.prepare(ENGINE, request.tensors)
        return ClosedLoop(runtime, prepared, request, Ticking())  # type: ignore[arg-type]

    return make


def test_the_number_of_outstanding_requests_is_constant(loop: Loop) -> None:
    runtime = Watched()
    measured = loop(runtime).measure(4, seconds=10)
    assert runtime.outstanding[:4] == [1, 2, 3, 4]
    assert set(runtime.outstanding[4:]) == {4}
    assert runtime.waiting == []
    # One request ends at each reading of the clock, which advances by one second.
    assert measured == Sample(throughput=1.0, p50_ms=0.003, p99_ms=0.003, mean_batch=1.0, seconds=10.0)


def test_even_a_short_measurement_has_a_completion(loop: Loop) -> None:
    assert loop(FakeRuntime()).measure(1, seconds=1e-9).throughput == 1.0


def test_a_request_that_fails_ends_the_measurement(loop: Loop) -> None:
    runtime = Watched()
    failing = loop(runtime)

    def fail(_: Sequence[object]) -> Any:
        raise error("ExecutionFailed", "the engine broke")

    runtime.compute = fail
    with pytest.raises(ExecutionFailed, match="the engine broke"):
        failing.measure(8, seconds=10)
    assert runtime.waiting == []


def test_a_refusal_at_submit_is_raised_after_the_outstanding_requests_end(
    loop: Loop,
) -> None:
    runtime = Watched()
    refused = loop(runtime)
    runtime.engine(ENGINE).max_queue_size = 2
    with pytest.raises(Error, match="is full"):
        refused.measure(3, seconds=10)
    assert runtime.waiting == []


def test_percentiles_are_observed_values_and_batches_are_counted_by_execution() -> None:
    # 99 requests of one millisecond in batches of 3, and one of a second alone
    ended = [(1_000_000, 3)] * 99 + [(1_000_000_000, 1)]
    found = sample(ended, seconds=2.0, items=2)
    assert found.throughput == 100.0
    assert (found.p50_ms, found.p99_ms) == (1.0, 1.0)
    assert found.mean_batch == pytest.approx(100 / 34)
    assert sample(ended[-2:], seconds=1.0, items=1).p99_ms == 1000.0
