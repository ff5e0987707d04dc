"""Completions from the runtime to the event loop."""

import gc
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from tests.fakes.plans import onnx_plan
from tests.fakes.runtime import Completion, FakeRuntime, LoadOptions
from tests.submitting import submit
from tests.waiting import until
from trtserve.codec.request import Input
from trtserve.inference.completions import Completions

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


class Answers:
    """The completions by the number of their request."""

    def __init__(self, completions: Completions, runtime: FakeRuntime) -> None:
        self._completions = completions
        self._runtime = runtime
        self.came: dict[int, float] = {}

    def ask(self, number: int, inputs: list[Input] | None = None) -> int:
        def done(completion: Completion) -> None:
            assert number not in self.came
            self.came[number] = float(np.frombuffer(completion.outputs[0], np.float32)[0])

        ticket = submit(self._runtime, ENGINE, x(number) if inputs is None else inputs)
        self._completions.expect(ticket, done)
        return ticket


@pytest.fixture
def answers(completions: Completions, loaded: FakeRuntime) -> Answers:
    return Answers(completions, loaded)


async def test_many_requests_each_get_their_own_completion(answers: Answers, loaded: FakeRuntime) -> None:
    loaded.hold()
    for number in range(100):
        answers.ask(number)
    loaded.release()
    await until(lambda: len(answers.came) == 100)
    assert answers.came == {number: number for number in range(100)}


async def test_an_abandoned_request_in_the_queue_is_cancelled(
    answers: Answers, completions: Completions, loaded: FakeRuntime
) -> None:
    loaded.hold()
    ticket = answers.ask(1)
    completions.forget(ENGINE, ticket)
    assert loaded.cancelled == [ticket]
    loaded.release()
    answers.ask(2)
    await until(lambda: 2 in answers.came)
    assert answers.came.keys() == {2}


async def test_the_completion_of_an_abandoned_request_is_dropped(
    answers: Answers, completions: Completions, loaded: FakeRuntime
) -> None:
    inputs = x()
    buffer = weakref.ref(inputs[0][3])
    ticket = answers.ask(1, inputs)  # it has ended, but the loop has not been notified yet
    completions.forget(ENGINE, ticket)
    assert loaded.cancelled == []
    del inputs

    def gone() -> bool:
        gc.collect()
        return buffer() is None

    await until(gone)
    assert answers.came == {}


async def test_forgetting_an_answered_request_cancels_nothing(
    answers: Answers, completions: Completions, loaded: FakeRuntime
) -> None:
    ticket = answers.ask(1)
    await until(lambda: 1 in answers.came)
    completions.forget(ENGINE, ticket)
    assert loaded.cancelled == []


async def test_a_failing_callback_does_not_block_other_completions(
    answers: Answers, completions: Completions, loaded: FakeRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(completion: Completion) -> None:
        raise RuntimeError("broken")

    loaded.hold()
    answers.ask(1)
    completions.expect(submit(loaded, ENGINE, x()), fail)
    answers.ask(2)
    loaded.release()
    await until(lambda: len(answers.came) == 2)
    assert "broken" in caplog.text


async def test_detach_delivers_ended_requests_and_nothing_afterwards(loaded: FakeRuntime) -> None:
    completions = Completions(loaded)
    completions.attach()
    answers = Answers(completions, loaded)
    answers.ask(4)
    completions.detach()
    assert answers.came == {4: 4.0}
    answers.ask(5)
    completions.detach()
    assert answers.came == {4: 4.0}, "detached: it no longer listens"


class Holding(FakeRuntime):
    """A runtime all of whose requests are run by run_held()."""

    turns = 0

    def run_held(self) -> list[Completion]:
        self.turns += 1
        self.release()
        self.hold()
        return self.take_completions()


async def test_held_requests_run_once_for_all_that_arrive_together(tmp_path: Path) -> None:
    (tmp_path / "a.plan").write_bytes(onnx_plan())
    runtime = Holding()
    runtime.load(ENGINE, str(tmp_path / "a.plan"), "openvino", LoadOptions(max_queue_size=100))
    runtime.hold()
    completions = Completions(runtime)
    completions.attach()
    answers = Answers(completions, runtime)
    for number in range(3):
        answers.ask(number)
    assert runtime.turns == 0
    await until(lambda: len(answers.came) == 3)
    assert (answers.came, runtime.turns) == ({0: 0, 1: 1, 2: 2}, 1)
    completions.detach()
    runtime.end()


async def test_nothing_is_held_after_detach(loaded: FakeRuntime) -> None:
    completions = Completions(loaded)
    completions.attach()
    assert loaded.holds_short
    completions.detach()
    assert not loaded.holds_short
