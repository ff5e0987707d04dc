"""Completions from the runtime to the event loop."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import NoReturn

import numpy as np
import pytest

from runtime_ext import Error
from service.codec.request import Input
from service.completions import Completions
from service.errors import HTTP_STATUS, TrtserveError
from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import FakeRuntime, LoadOptions, error
from tests.waiting import until

pytestmark = pytest.mark.anyio

ENGINE = 7


@pytest.fixture
def loaded(runtime: FakeRuntime, tmp_path_factory: pytest.TempPathFactory) -> FakeRuntime:
    plan = tmp_path_factory.mktemp("plans") / "a.plan"
    plan.write_bytes(onnx_plan())
    runtime.load(ENGINE, str(plan), "openvino", LoadOptions(max_queue_size=100))
    return runtime


@pytest.fixture
async def completions(loaded: FakeRuntime) -> AsyncIterator[Completions]:
    completions = Completions(loaded)
    completions.attach()
    yield completions
    completions.detach()


def x(value: float = 1.0) -> list[Input]:
    return [("x", "FP32", [1, 4], np.full(4, value, np.float32))]


async def first(completions: Completions, value: float) -> float:
    """The first element of the answer to a request full of `value`."""
    completion = await completions.run(ENGINE, x(value), None)
    return float(np.frombuffer(completion.outputs[0], np.float32)[0])


async def test_a_request_gets_its_completion(completions: Completions) -> None:
    assert await first(completions, 2.5) == 2.5


async def test_many_requests_get_each_its_own(completions: Completions, loaded: FakeRuntime) -> None:
    loaded.hold()
    running = [asyncio.create_task(first(completions, n)) for n in range(100)]
    await until(lambda: len(loaded.waiting) == 100)
    loaded.release()
    assert await asyncio.gather(*running) == list(range(100))


async def test_the_time_goes_along(completions: Completions, loaded: FakeRuntime) -> None:
    await completions.run(ENGINE, x(), 5_000)
    await completions.run(ENGINE, x(), None)
    assert loaded.timeouts == [5_000, None]


@pytest.mark.parametrize("kind", sorted(HTTP_STATUS))
async def test_a_request_that_fails_raises_its_kind(
    completions: Completions, loaded: FakeRuntime, kind: str
) -> None:
    def fail(_: object) -> NoReturn:
        raise error(kind, "a reason")

    loaded.compute = fail
    with pytest.raises(TrtserveError, match="a reason") as raised:
        await completions.run(ENGINE, x(), None)
    assert raised.value.kind == kind


async def test_a_refusal_at_submit_is_raised(completions: Completions) -> None:
    with pytest.raises(Error, match="inputs of engine 7 are x") as raised:
        await completions.run(ENGINE, [], None)
    assert raised.value.kind == "InvalidInput"


async def test_a_cancelled_caller_cancels_the_request_that_waits(
    completions: Completions, loaded: FakeRuntime
) -> None:
    loaded.hold()
    running = asyncio.create_task(completions.run(ENGINE, x(), None))
    await until(lambda: len(loaded.waiting) == 1)
    (ticket,) = loaded.waiting
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert loaded.cancelled == [ticket]
    loaded.release()
    assert await first(completions, 3.0) == 3.0


async def test_the_completion_of_a_cancelled_request_is_taken_and_dropped(
    completions: Completions, loaded: FakeRuntime
) -> None:
    loaded.hold()
    inputs = x()
    buffer = weakref.ref(inputs[0][3])
    running = asyncio.create_task(completions.run(ENGINE, inputs, None))
    await until(lambda: len(loaded.waiting) == 1)
    del inputs
    loaded.release()  # it has ended, but the loop has not heard of it yet
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert loaded.cancelled == []

    def gone() -> bool:
        gc.collect()
        return buffer() is None

    await until(gone)
    assert await first(completions, 3.0) == 3.0


async def test_what_has_ended_is_still_taken_at_detach(loaded: FakeRuntime) -> None:
    completions = Completions(loaded)
    completions.attach()
    loaded.hold()
    running = asyncio.create_task(first(completions, 4.0))
    await until(lambda: len(loaded.waiting) == 1)
    loaded.release()
    completions.detach()
    assert await running == 4.0
