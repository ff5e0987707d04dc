"""A toy engine whose executions wait for the test, and which reports the composition of each."""

from typing import NamedTuple

import numpy as np

import runtime_ext
from tests.seam.conftest import Gates, Harness, to_numpy
from tests.waiting import wait_until

PLAN = "input x FP32 -1 -1\noutput y x 2\nsize n x 0"


class Ran(NamedTuple):
    """The composition of one execution."""

    requests: int
    items: int


class GatedEngine:
    """An engine of y = 2x, loaded with the options in `batch`, behind its own gate."""

    def __init__(
        self,
        harness: Harness,
        gates: Gates,
        plan: str = PLAN,
        *,
        instances: int = 1,
        queue: int = 256,
        **batch: object,
    ) -> None:
        self._harness = harness
        self._gates = gates
        self._gate = gates.new()
        self._arrivals = 0
        self._sent: dict[int, np.ndarray] = {}
        self.id = harness.load_toy(
            f"{plan}\ngate {self._gate}",
            instances=instances,
            max_queue_size=queue,
            batch=runtime_ext.BatchOptions(**batch),
        )

    def submit(
        self,
        items: int = 1,
        *,
        width: int = 2,
        value: float = 1,
        timeout_ns: int | None = None,
        priority: int = 1,
    ) -> int:
        # Every request has different data, so that answers cannot be confused.
        x = value + len(self._sent) / 1024 * (value == 1) + np.zeros((items, width), np.float32)
        ticket = self._harness.submit(self.id, timeout_ns, priority, x=x.astype(np.float32))
        self._sent[ticket] = x.astype(np.float32)
        return ticket

    def occupy(self, instances: int = 1, items: int = 1) -> list[int]:
        """Submit requests that keep instances busy until they are let through: later requests must wait."""
        tickets = []
        for _ in range(instances):
            tickets.append(self.submit(items))
            self.wait_for(1)
        return tickets

    def occupy_with(self, ticket: int) -> int:
        """Wait until the request of this ticket, submitted by the test, keeps an instance busy."""
        self.wait_for(1)
        return ticket

    def wait_for(self, executions: int) -> None:
        """Wait until this many more executions have begun."""
        self._arrivals += executions
        self._gates.wait_for(self._gate, self._arrivals)

    def wait_until_busy(self, instances: int) -> None:
        """Wait until at least this many instances execute or wait for a turn on the device."""
        wait_until(lambda: self.stats.instances_busy >= instances, f"{instances} instances are busy")

    def let_through(self, executions: int = 1) -> None:
        self._gates.let_through(self._gate, executions)

    def open(self) -> None:
        self._gates.open(self._gate)

    def ran(self, *tickets: int) -> list[Ran]:
        """Return the execution of each request. Each must have been answered with twice its own data."""
        ran = []
        for ticket, completion in zip(tickets, self._harness.wait(*tickets), strict=True):
            assert completion.kind is None, completion.message
            y, n = (to_numpy(output) for output in completion.outputs)
            assert np.array_equal(y, 2 * self._sent[ticket])
            assert n.shape == y.shape
            items = int(n.flat[0]) if n.size else 0
            assert (n == items).all()
            ran.append(Ran(completion.batch_requests, items))
        return ran

    @property
    def stats(self) -> runtime_ext.EngineStats:
        return self._harness.stats(self.id)

    @property
    def executions(self) -> int:
        return self.stats.counters["executions"]
