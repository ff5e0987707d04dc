"""Tests of what the executions that modules call count in, and of who pays for their time on a device."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import runtime_ext
from runtime_ext import BESIDE
from tests.fakes import device
from tests.seam.backends.torchscript.modules import write
from tests.seam.conftest import Gates, Harness, RunInThread, to_numpy
from tests.seam.gated import GatedEngine
from tests.waiting import wait_until

US = 1_000  # nanoseconds
ROWS = np.ones((3, 4), np.float32)
DOUBLE = "input x FP32 -1 4\noutput y x 2"


class Calls(torch.nn.Module):
    def __init__(self, engine: int) -> None:
        super().__init__()
        self.engine = engine

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.trt.execute_engine_list(self.engine, [x])[0]


def call(engine: int, x: torch.Tensor) -> torch.Tensor:
    return torch.ops.trt.execute_engine_list(engine, [x])[0]


class ForksCalls(Calls):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.jit.wait(torch.jit.fork(call, self.engine, x))


class CallsInALoop(Calls):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(100):
            call(self.engine, x)
        return x


def load(harness: Harness, module: torch.nn.Module, **options: object) -> int:
    chosen = {"device": "cpu"} | options
    return harness.load_file(write(harness.folder / "m.pt", module), "torchscript", **chosen)


def calls(stats: runtime_ext.EngineStats) -> int:
    return sum(stats.calls.counts)


# -- statistics


@pytest.mark.parametrize("kind", [Calls, ForksCalls])
def test_what_a_module_calls_counts_as_an_execution_of_the_engine_without_a_request(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates, kind: type[Calls]
) -> None:
    inner = GatedEngine(still_harness, gates, max_batch_size=4)
    module = load(still_harness, kind(inner.id))
    ticket = still_harness.submit(module, x=ROWS)
    inner.wait_for(1)
    clock.advance(1_000_001)
    inner.open()
    assert [completion.kind for completion in still_harness.wait(ticket)] == [None]
    stats, of_module = inner.stats, still_harness.stats(module)
    assert (stats.execution_count, stats.inference_count) == (1, 3)
    (batch,) = stats.batches
    assert (batch.size, batch.compute_infer.count, batch.compute_infer.ns) == (3, 1, 1_000_001)
    assert (batch.compute_input.ns, batch.compute_output.ns) == (0, 0)
    assert (calls(stats), stats.calls.sum) == (1, 1_000_001 / 1e9)
    assert stats.last_inference_ms == of_module.last_inference_ms == 1
    assert not any(stats.outcomes.values())
    assert (stats.success.count, sum(stats.compute.counts), stats.compute_infer.count) == (0, 0, 0)
    assert (of_module.success.count, of_module.compute_infer.ns, calls(of_module)) == (1, 1_000_001, 0)


def test_requests_are_no_calls_and_the_calls_of_a_program_are(harness: Harness) -> None:
    engine = harness.load_toy(DOUBLE)
    harness.infer(engine, x=ROWS)
    assert (harness.stats(engine).execution_count, calls(harness.stats(engine))) == (1, 0)
    runtime_ext.module(harness.runtime, engine)(torch.ones(1, 4))
    call(engine, torch.ones(1, 4))
    assert (harness.stats(engine).execution_count, calls(harness.stats(engine))) == (3, 2)


def test_a_call_of_an_engine_that_does_not_batch_is_one_item(harness: Harness) -> None:
    inputs = "input x FP32 -1 4\ninput z FP32 -1 4\noutput y x 2"
    unbatched = harness.load_toy(inputs, batch=runtime_ext.BatchOptions(max_batch_size=1))
    batched = harness.load_toy(inputs, batch=runtime_ext.BatchOptions(max_batch_size=8))
    for engine, rows in ((unbatched, (3, 3)), (batched, (3, 3)), (batched, (3, 2))):
        torch.ops.trt.execute_engine_list(engine, [torch.ones(n, 4) for n in rows])
    assert harness.stats(unbatched).inference_count == 1
    assert harness.stats(batched).inference_count == 3 + 1, "one item where the inputs do not agree"


def test_a_call_that_fails_is_a_failed_execution_of_engine_and_module(harness: Harness) -> None:
    inner = harness.load_toy(f"{DOUBLE}\nfail_on 13")
    module = load(harness, Calls(inner))
    (completion,) = harness.wait(harness.submit(module, x=13 * ROWS))
    assert (completion.kind, completion.message) == ("ExecutionFailed", f"engine {inner} failed: it met 13")
    stats = harness.stats(inner)
    assert (stats.failed_executions, stats.execution_count, calls(stats)) == (1, 0, 0)
    assert harness.stats(module).failed_executions == 1


def test_a_call_that_is_refused_for_its_input_is_no_failed_execution(harness: Harness) -> None:
    inner = harness.load_toy(DOUBLE)
    with pytest.raises(runtime_ext.Error):
        call(inner, torch.ones(1, 5))
    assert harness.stats(inner).failed_executions == 0


def test_a_call_that_an_unload_ends_is_no_failed_execution(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    gate = gates.new()
    engine = harness.load_toy(f"{DOUBLE}\ngate {gate}\ninterruptible")
    running = run_in_thread(call, engine, torch.ones(1, 4))
    gates.wait_for(gate, 1)
    harness.runtime.unload(engine, 0.0, keep_counts=True)
    with pytest.raises(runtime_ext.Error) as ended:
        running.result()
    assert ended.value.kind == "Cancelled"
    assert harness.stats(engine).failed_executions == 0


def test_a_call_is_a_use_of_the_engine(still_harness: Harness, clock: runtime_ext.ManualClock) -> None:
    inner = still_harness.load_toy(DOUBLE)
    module = load(still_harness, Calls(inner))
    clock.advance(5_000_000_000)
    assert still_harness.runtime.condition(inner).unused_seconds == 5
    still_harness.infer(module, x=ROWS)
    assert still_harness.runtime.condition(inner).unused_seconds == 0


# -- what completions tell of them


@pytest.mark.parametrize("kind", [Calls, ForksCalls])
def test_a_completion_tells_of_the_calls_of_its_module_and_of_those_inside(
    still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates, kind: type[Calls]
) -> None:
    inner = GatedEngine(still_harness, gates, max_batch_size=4)
    module = load(still_harness, kind(inner.id))
    outer = load(still_harness, kind(module), name="outer")
    ticket = still_harness.submit(outer, x=ROWS)
    inner.wait_for(1)
    clock.advance(7 * US)
    inner.open()
    (completion,) = still_harness.wait(ticket)
    start = completion.times[2]
    assert [
        (engine, begin - start, end - start, failure) for engine, _, begin, end, failure in completion.calls
    ] == [
        (inner.id, 0, 7 * US, None),
        (module, 0, 7 * US, None),
    ]


def test_the_requests_of_one_batch_are_told_of_the_same_calls(harness: Harness, gates: Gates) -> None:
    blocker = GatedEngine(harness, gates)
    module = load(harness, Calls(blocker.id), instances=1, batch=runtime_ext.BatchOptions(max_batch_size=8))
    first = harness.submit(module, x=ROWS)
    blocker.wait_for(1)
    joined = [harness.submit(module, x=ROWS) for _ in range(2)]
    blocker.open()
    alone, *together = harness.wait(first, *joined)
    assert [len(completion.calls) for completion in (alone, *together)] == [1, 1, 1]
    assert together[0].calls == together[1].calls != alone.calls


def test_a_completion_tells_of_the_call_that_failed(harness: Harness) -> None:
    inner = harness.load_toy(f"{DOUBLE}\nfail_on 13", name="inner")
    (completion,) = harness.wait(harness.submit(load(harness, Calls(inner)), x=13 * ROWS))
    assert [(engine, name, failure) for engine, name, _, _, failure in completion.calls] == [
        (inner, "inner", "ExecutionFailed")
    ]


def test_a_completion_tells_of_a_bounded_number_of_calls(harness: Harness) -> None:
    module = load(harness, CallsInALoop(harness.load_toy(DOUBLE)))
    (completion,) = harness.wait(harness.submit(module, x=ROWS))
    assert completion.kind is None
    assert len(completion.calls) == 64


def test_an_engine_that_is_no_module_makes_no_calls(harness: Harness) -> None:
    (completion,) = harness.wait(harness.submit(harness.load_toy(DOUBLE), x=ROWS))
    assert completion.calls == []


# -- turns


class Contender:
    """Requests whose executions all wait at the gate of one engine, which may be inside a module."""

    def __init__(self, harness: Harness, gated: GatedEngine, of: int) -> None:
        self.harness = harness
        self.gated = gated
        self.id = of
        self.tickets: list[int] = []

    def submit(self) -> None:
        self.tickets.append(self.harness.submit(self.id, x=np.ones((1, 4), np.float32)))

    def wait_until_one_waits_for_a_turn(self) -> None:
        self.gated.wait_for(1)
        wait_until(lambda: self.harness.stats(self.id).instances_busy == 2, "one executes, another waits")

    def end(self) -> None:
        self.gated.open()
        for completion in self.harness.wait(*self.tickets):
            assert completion.kind is None, completion.message


class Contest:
    """The turns of the CPU, and an engine for calls on it."""

    def __init__(self, harness: Harness, clock: runtime_ext.ManualClock, gates: Gates) -> None:
        self.harness = harness
        self._clock = clock
        self._gates = gates
        self.inner = GatedEngine(harness, gates, instances=2)

    def run_for_a_millisecond(self) -> None:
        """End an execution of the engine that is about to begin, after a millisecond."""
        self.inner.wait_for(1)
        self._clock.advance(1_000 * US)
        self.inner.let_through()

    def next_turn_goes_to(self, contender: Contender, *, rival: bool) -> None:
        """Let a contender and a rival, which has used 10 us, ask for one turn, and wait until it is taken as
        expected. The device has three turns, and both have one each."""
        quick = GatedEngine(self.harness, self._gates, instances=2)
        tickets = [*quick.occupy(2), quick.submit()]
        blockers = [GatedEngine(self.harness, self._gates, instances=count) for count in (3, 1)]
        blocking = [blocker.occupy() for blocker in blockers]
        self._clock.advance(10 * US)
        quick.let_through()
        wait_until(lambda: quick.stats.execution_count == 1, "one execution has ended")
        quick.wait_until_busy(2)  # one executes, and one waits for a turn
        contender.submit()
        contender.submit()
        contender.wait_until_one_waits_for_a_turn()
        for blocker, held in zip(blockers, blocking, strict=True):
            blocker.open()
            blocker.ran(*held)
        (quick if rival else contender.gated).wait_for(1)
        quick.open()
        quick.ran(*tickets)
        contender.end()


@pytest.fixture
def contest(still_harness: Harness, clock: runtime_ext.ManualClock, gates: Gates) -> Contest:
    return Contest(still_harness, clock, gates)


@pytest.mark.parametrize("kind", [Calls, ForksCalls])
def test_a_module_pays_for_what_it_calls_on_its_device(contest: Contest, kind: type[Calls]) -> None:
    module = load(contest.harness, kind(contest.inner.id), instances=2)
    contender = Contender(contest.harness, contest.inner, module)
    contender.submit()
    contest.run_for_a_millisecond()
    contest.harness.wait(contender.tickets.pop())
    contest.next_turn_goes_to(contender, rival=True)


@pytest.mark.parametrize("kind", [Calls, ForksCalls])
def test_an_engine_does_not_pay_for_what_a_module_calls_on_the_same_device(
    contest: Contest, kind: type[Calls]
) -> None:
    ticket = contest.harness.submit(load(contest.harness, kind(contest.inner.id)), x=ROWS)
    contest.run_for_a_millisecond()
    contest.harness.wait(ticket)
    contender = Contender(contest.harness, contest.inner, contest.inner.id)
    contest.next_turn_goes_to(contender, rival=False)


def elsewhere(harness: Harness, engine: int) -> Callable[[], object]:
    device.load()
    module = load(harness, ForksCalls(engine), device="cuda:0")
    assert harness.runtime.engine(module).devices == ["fake:0"]
    return lambda: harness.infer(module, x=ROWS)


def in_the_program(_harness: Harness, engine: int) -> Callable[[], object]:
    return lambda: call(engine, torch.ones(1, 4))


@pytest.mark.parametrize("caller", [elsewhere, in_the_program])
def test_an_engine_pays_for_calls_of_whoever_has_no_turn_on_its_device(
    contest: Contest, run_in_thread: RunInThread, caller: Callable[[Harness, int], Callable[[], object]]
) -> None:
    running = run_in_thread(caller(contest.harness, contest.inner.id))
    contest.run_for_a_millisecond()
    running.result()
    contender = Contender(contest.harness, contest.inner, contest.inner.id)
    contest.next_turn_goes_to(contender, rival=True)


def test_calls_run_while_others_have_all_turns(
    still_harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    """A call waits for no turn, because its caller may have one that others wait for."""
    blocker = GatedEngine(still_harness, gates, instances=2)
    blocking = blocker.occupy(2)
    inner = still_harness.load_toy(DOUBLE, instances=2)
    module = load(still_harness, Calls(load(still_harness, ForksCalls(inner))))
    assert still_harness.infer(module, x=ROWS)["y"].tolist() == [[2.0] * 4] * 3
    running = [run_in_thread(call, inner, torch.ones(1, 4)) for _ in range(4)]
    for each in running:
        assert torch.equal(each.result(), torch.full((1, 4), 2.0))
    blocker.open()
    blocker.ran(*blocking)


# -- another life of the engine


def test_a_module_keeps_the_life_of_its_engine_that_serves(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    gate, contexts = gates.new(), gates.contexts
    inner = harness.load_toy(f"{DOUBLE}\ngate {gate}", instances=1)
    module = load(harness, Calls(inner))
    ticket = harness.submit(module, x=ROWS)
    gates.wait_for(gate, 1)
    plan = harness.folder / "next.plan"
    plan.write_text("toy 1\ninput x FP32 -1 4\noutput y x 3\n")
    harness.runtime.load(inner | BESIDE, str(plan), "toy", runtime_ext.LoadOptions(instances=1))
    harness.runtime.exchange(inner)
    unloading = run_in_thread(harness.runtime.unload, inner | BESIDE, 60.0)
    with pytest.raises(runtime_ext.Error, match="is used by"):
        harness.runtime.unload(inner)
    gates.open(gate)
    unloading.result()
    assert gates.contexts == contexts + 1, "the module does not keep the former life"
    (completion,) = harness.wait(ticket)
    assert float(to_numpy(completion.outputs[0])[0, 0]) == 2
    (answer,) = harness.infer(module, x=ROWS).values()
    assert answer[0, 0] == 3
