"""An engine is warm before its first request: its load runs what its specs or its uploader say."""

from typing import Any

import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime
from tests.fakes.values import EngineInfo, error
from tests.fakes.values import ShapeRange as Range
from tests.fakes.values import TensorSpec as Spec
from tests.unit.serving import serving
from trtserve.engines.engine import State
from trtserve.engines.warm_up import MOST, executions
from trtserve.errors import InvalidInput, TrtserveError
from trtserve.options.engine_options import EngineOptions
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


def info(*inputs: Any) -> Any:
    return EngineInfo(
        id=1,
        name="",
        backend="tensorrt",
        device="cuda:0",
        instances=1,
        max_queue_size=1,
        inputs=list(inputs),
        outputs=[],
    )


def sizes(found: list[Any]) -> list[list[list[int]]]:
    return [[shape for shape, _ in one] for one in found]


ROWS = Spec("x", "FP32", [-1, 4], [Range([1, 4], [8, 4], [64, 4])])
TWO_PROFILES = Spec("x", "FP32", [-1, 4], [Range([1, 4], [1, 4], [4, 4]), Range([4, 4], [16, 4], [64, 4])])


def test_an_engine_runs_the_shapes_that_its_profiles_are_best_for() -> None:
    assert sizes(executions(info(ROWS), EngineOptions(), 1)) == [[[8, 4]]]
    assert sizes(executions(info(TWO_PROFILES), EngineOptions(), 1)) == [[[1, 4]], [[16, 4]]]


def test_an_engine_that_joins_requests_runs_likely_batches_of_each_profile() -> None:
    options = EngineOptions(preferred_batch_sizes="6")
    assert sizes(executions(info(ROWS), options, 20)) == [[[rows, 4]] for rows in (8, 1, 2, 4, 6, 16, 20)]
    found = sizes(executions(info(TWO_PROFILES), EngineOptions(), 16))
    assert found == [[[rows, 4]] for rows in (1, 2, 4, 16, 8)]


def test_the_batch_dimension_is_that_of_the_options() -> None:
    spec = Spec("x", "FP32", [4, -1], [Range([4, 1], [4, 1], [4, 8])])
    found = executions(info(spec), EngineOptions(batch_dims="x:1"), 4)
    assert sizes(found) == [[[4, 1]], [[4, 2]], [[4, 4]]]


def test_an_input_whose_values_decide_shapes_has_the_best_of_them() -> None:
    spec = Spec("size", "INT32", [2], [], [Range([1, 1], [2, 3], [4, 8])])
    assert executions(info(spec), EngineOptions(), 1) == [[([2], [2, 3])]]


@pytest.mark.parametrize("shape", [None, [-1, 4]])
def test_an_engine_that_does_not_say_which_shapes_are_good_runs_none(shape: list[int] | None) -> None:
    assert executions(info(Spec("x", "FP32", shape)), EngineOptions(), 8) == []


def test_an_engine_runs_no_more_than_an_instance_keeps_graphs_for() -> None:
    many = Spec("x", "FP32", [-1, 4], [Range([1, 4], [1, 4], [65536, 4])] * 3)
    preferred = ",".join(map(str, range(3, 40)))
    assert len(executions(info(many), EngineOptions(preferred_batch_sizes=preferred), 65536)) == MOST


def test_the_shapes_of_the_option_are_run_instead() -> None:
    mask = Spec("mask", "BOOL", [7])
    options = EngineOptions(warm_up="x:2x4;mask:7,x:3x4")
    assert sizes(executions(info(ROWS, mask), options, 8)) == [[[2, 4], [7]], [[3, 4], [7]]]
    assert executions(info(ROWS), EngineOptions(warm_up="off"), 8) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("y:1x4", "warm_up names the input 'y'; the engine has 'x'"),
        ("mask:7", "warm_up names the input 'mask'"),
    ],
)
def test_the_option_names_the_inputs_of_the_engine(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        executions(info(ROWS), EngineOptions(warm_up=text), 1)
    two = info(ROWS, Spec("z", "FP32", [-1]))
    with pytest.raises(InvalidInput, match="does not name the input 'z', whose shape is not fixed"):
        executions(two, EngineOptions(warm_up="x:1x4"), 1)


@pytest.mark.parametrize(
    "text", ["", "on", "x", "x:", "x:a", "x:1x", "x:1,", "x:1;", "x:-1", "x:1,x:2", ";".join(["x:1"] * 65)]
)
def test_a_text_that_names_no_executions_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(
        ValueError, match="Input should be 'auto', 'off', or shapes of inputs as x:1x3x224x224"
    ):
        EngineOptions(warm_up=text)


def test_the_same_executions_have_one_text() -> None:
    assert EngineOptions(warm_up="y:010,x:1x02;x:3").warm_up == "x:1x2,y:10;x:3"


# -- at a load


async def test_an_engine_is_warmed_up_before_it_is_ready(settings: Settings) -> None:
    runtime = FakeRuntime()
    async with serving(settings, runtime) as server:
        resolved, _ = await server.add(onnx_plan(), "net")
        assert runtime.warmed == [(resolved.engine.id, [[([1, 4], [])]])]
        await server.registry.unload("net")
        await server.registry.load("net")
        assert len(runtime.warmed) == 2


async def test_nothing_runs_without_time_for_it(settings: Settings) -> None:
    runtime = FakeRuntime()
    async with serving(settings.model_copy(update={"warm_up_s": 0.0}), runtime) as server:
        await server.add(onnx_plan(), "net")
        assert runtime.warmed == []


async def test_an_execution_that_fails_only_costs_the_warm_up(settings: Settings) -> None:
    runtime = FakeRuntime()
    runtime.warm_up_error = error("ExecutionFailed", "It divides by zero.")
    async with serving(settings, runtime) as server:
        resolved, _ = await server.add(onnx_plan(), "net")
        assert resolved.engine.state is State.READY


@pytest.mark.parametrize(("warm_up", "message"), [("z:1", "names the input 'z'"), ("x:9x9", "does not fit")])
async def test_an_upload_with_shapes_that_its_engine_does_not_take_is_refused(
    settings: Settings, warm_up: str, message: str
) -> None:
    runtime = FakeRuntime()
    runtime.warm_up_error = error("InvalidInput", "It does not fit.")
    async with serving(settings, runtime) as server:
        with pytest.raises((TrtserveError, Exception), match=message):
            await server.add(onnx_plan(), "net", warm_up=warm_up)
        assert server.registry.engines() == []
        assert runtime.engines() == []
