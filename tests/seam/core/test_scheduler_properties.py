"""Tests that each request ends once, and correctly, whatever happens and in whatever order.

A state machine submits requests, moves the clock, cancels, lets executions through, and loads and unloads
engines; the threads below the seam run freely in between. So the tests do not check which of the allowed ends
a request found, only that its history allows that end.
"""

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

import runtime_ext
from tests.seam.conftest import Gates, Harness, to_numpy
from tests.waiting import wait_until

POISON = 4096.0
FOREVER_NS = 3_600_000_000_000
ITEMS = st.integers(0, 6)
WIDTHS = st.integers(1, 2)
TIMEOUTS = st.sampled_from([None, None, None, 0, 1_000, 50_000])
# The numbers of items that each profile accepts, for widths of 1 and 2; none: any.
PROFILES = st.sampled_from([{}, {1: [(0, 6)], 2: [(0, 3), (5, 6)]}, {1: [(1, 2), (4, 6)], 2: [(1, 6)]}])

gates = Gates()


@dataclass
class Life:
    """One life of an engine, from a load to its unload."""

    id: int
    gate: str
    factor: int
    most_items: int
    profiles: dict[int, list[tuple[int, int]]]
    ends: Counter[str] = field(default_factory=Counter)
    unloaded: bool = False

    def takes(self, width: int, items: int) -> bool:
        return not self.profiles or any(low <= items <= high for low, high in self.profiles[width])


@dataclass
class Sent:
    """A request and its history so far."""

    life: Life
    x: np.ndarray
    deadline: int | None
    cancelled: bool = False


def batch_options() -> st.SearchStrategy[runtime_ext.BatchOptions]:
    return st.builds(
        lambda most, delay, target, preferred: runtime_ext.BatchOptions(
            max_batch_size=most,
            max_queue_delay_us=delay,
            latency_target_us=target,
            preferred_batch_sizes=sorted({size for size in preferred if size <= most}),
        ),
        st.sampled_from([1, 2, 4, 8]),
        st.sampled_from([0, 0, 5, 100, runtime_ext.AUTO_DELAY]),
        st.sampled_from([0, 20, 10_000]),
        st.lists(st.integers(1, 8), max_size=2),
    )


class Scheduling(RuleBasedStateMachine):
    lives = Bundle("lives")
    tickets = Bundle("tickets")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = runtime_ext.ManualClock()
        self.now = 0
        self.harness = Harness(Path(self.folder.name), self.clock)
        self.open: dict[int, Sent] = {}
        self.served: list[Life] = []
        self.left: list[Life] = []  # engines that were unloaded while their gates were shut
        self.prepared: dict[tuple[int, int, int], runtime_ext.Prepared] = {}

    def teardown(self) -> None:
        try:
            for life in self.served + self.left:
                gates.open(life.gate)
            wait_until(lambda: self.harness.runtime.left_behind()[1] == 0, "the end of what was left behind")
            self.advance(FOREVER_NS)
            self.check(self.harness.wait(*self.open))
            for life in self.served:
                self.check_counters(life)
        finally:
            self.harness.runtime.close()
            self.folder.cleanup()
        assert self.harness.runtime.take_completions() == []
        assert self.open == {}
        wait_until(lambda: gates.contexts == 0, "the end of what was left behind")
        assert gates.most_in_one_context <= 1  # 0 if nothing has executed

    @precondition(lambda self: len(self.served) < 3)
    @rule(
        target=lives,
        id=st.integers(1, 4),
        factor=st.integers(2, 5),
        instances=st.integers(1, 3),
        queue=st.sampled_from([2, 256]),
        profiles=PROFILES,
        batch=batch_options(),
    )
    def load(
        self,
        *,
        id: int,
        factor: int,
        instances: int,
        queue: int,
        profiles: dict[int, list[tuple[int, int]]],
        batch: runtime_ext.BatchOptions,
    ) -> Life:
        life = Life(id, gates.new(), factor, batch.max_batch_size, profiles)
        lines = [
            "input x FP32 -1 -1",
            *(f"profile x {low} {w} / {high} {w}" for w in profiles for low, high in profiles[w]),
            f"output y x {factor}",
            "size n x 0",
            f"fail_on {POISON}",
            f"gate {life.gate}",
        ]
        plan = Path(self.folder.name) / f"{life.gate}.plan"
        plan.write_text("\n".join(["toy 1", *lines, ""]))
        options = runtime_ext.LoadOptions(instances=instances, max_queue_size=queue, batch=batch)
        if id in {other.id for other in self.served}:
            with pytest.raises(runtime_ext.Error, match="resident already"):
                self.harness.runtime.load(id, str(plan), "toy", options)
            life.unloaded = True
        else:
            self.harness.runtime.load(id, str(plan), "toy", options)
            self.served.append(life)
        return life

    @rule(
        target=tickets,
        life=lives,
        items=ITEMS,
        width=WIDTHS,
        poison=st.sampled_from([False] * 7 + [True]),
        priority=st.integers(0, 2),
        timeout=TIMEOUTS,
        again=st.booleans(),
    )
    def submit(
        self,
        *,
        life: Life,
        items: int,
        width: int,
        poison: bool,
        priority: int,
        timeout: int | None,
        again: bool,
    ) -> int | None:
        # An unloaded engine may have been loaded again under its ID, as another life.
        life = next((served for served in self.served if served.id == life.id), life)
        number = len(self.harness.order) + len(self.open)
        x = np.full((items, width), POISON if poison else number % 1024, np.float32)
        try:
            prepared = self.prepare(life.id, items, width, again=again)
            ticket = self.harness.runtime.submit(prepared, (x,), 0, timeout, priority)
        except runtime_ext.Error as refused:
            self.check_refusal(life, x, refused)
            return None
        assert life.takes(width, items)
        self.open[ticket] = Sent(life, x, None if timeout is None else self.now + timeout)
        return ticket

    def prepare(self, id: int, items: int, width: int, *, again: bool) -> runtime_ext.Prepared:
        """Reuse an earlier prepared request, perhaps from a former life of the engine, unless `again`."""
        shape = (id, items, width)
        if again or shape not in self.prepared:
            self.prepared[shape] = self.harness.runtime.prepare(id, [("x", "FP32", [items, width])])
        return self.prepared[shape]

    def check_refusal(self, life: Life, x: np.ndarray, refused: runtime_ext.Error) -> None:
        if refused.kind == "NotFound":
            assert life.unloaded
            return
        life.ends[refused.kind] += 1
        if refused.kind == "InvalidInput":
            items, width = x.shape
            assert not life.takes(width, items)
        else:
            assert refused.kind == "QueueFull"
            assert refused.retry_after is not None

    @rule(ns=st.sampled_from([1, 1_000, 5_000, 100_000, 20_000_000]))
    def advance(self, ns: int) -> None:
        self.now += ns
        self.clock.advance(ns)

    @rule(life=lives, executions=st.integers(1, 5))
    def let_through(self, life: Life, executions: int) -> None:
        gates.let_through(life.gate, executions)

    @rule(life=lives)
    def open_gate(self, life: Life) -> None:
        gates.open(life.gate)

    @rule(ticket=consumes(tickets))
    def cancel(self, ticket: int | None) -> None:
        sent = self.open.get(ticket) if ticket is not None else None
        if sent is not None:
            sent.cancelled = self.harness.runtime.cancel(sent.life.id, ticket)

    @rule(life=consumes(lives))
    def unload(self, life: Life) -> None:
        if life not in self.served:
            return
        gates.open(life.gate)  # running executions need not have ended when the unload checks
        self.end_life(life)

    @rule(life=consumes(lives))
    def abandon(self, life: Life) -> None:
        """Unload an engine while its executions cannot end; they end some time later."""
        if life in self.served:
            self.left.append(life)
            self.end_life(life)

    def end_life(self, life: Life) -> None:
        life.unloaded = True
        self.served.remove(life)
        self.harness.runtime.unload(life.id, 0.0)
        self.take()
        assert not any(sent.life is life for sent in self.open.values())

    @precondition(lambda self: self.left)
    @rule()
    def end_what_was_left_behind(self) -> None:
        gates.open(self.left.pop(0).gate)

    @invariant()
    def take(self) -> None:
        self.check(self.harness.taken())

    def check(self, completions: list[runtime_ext.Completion]) -> None:
        for sent, completion in [(self.open.pop(end.ticket), end) for end in completions]:
            sent.life.ends[completion.kind or "Success"] += 1
            assert (completion.kind == "Cancelled") == sent.cancelled
            if completion.kind is None:
                self.check_answer(sent, completion)
            elif completion.kind == "ExecutionFailed":
                assert POISON in sent.x
                assert completion.batch_requests == 1
            elif completion.kind == "DeadlineExceeded":
                assert sent.deadline is not None
                assert sent.deadline <= self.now
            elif completion.kind == "Unavailable":
                assert sent.life.unloaded
            else:
                assert completion.kind == "Cancelled"

    def check_answer(self, sent: Sent, completion: runtime_ext.Completion) -> None:
        y, n = (to_numpy(output) for output in completion.outputs)
        assert np.array_equal(y, sent.life.factor * sent.x)
        assert POISON not in sent.x
        items, width = sent.x.shape
        together = int(n.flat[0]) if items else 0
        assert sent.life.takes(width, together)
        if completion.batch_requests == 1:
            assert together == items
        else:
            assert items < together <= sent.life.most_items

    def check_counters(self, life: Life) -> None:
        stats = self.harness.stats(life.id)
        assert {kind: count for kind, count in stats.outcomes.items() if count} == dict(life.ends)
        assert stats.queue_depth == 0


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
