"""Many threads against one runtime: never skipped, and what the sanitizers run."""

import random
import threading

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness, RunInThread

CLIENTS = 8
REQUESTS = 200


def test_every_request_of_many_clients_completes_exactly_once_whatever_happens(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    """Clients submit, cancel and set deadlines while one engine comes and goes; a reader counts the ends."""
    steady = harness.load_toy("input x FP32 -1 4\noutput y x 2", instances=3, max_queue_size=64)
    failing = harness.load_toy("input x FP32 -1 4\noutput y x 2\nfail it always does", max_queue_size=64)
    passing = 7777
    plan = harness.folder / "passing.plan"
    plan.write_text("toy 1\ninput x FP32 -1 4\noutput y x 3\n")
    accepted: list[set[tuple[int, int]]] = [set() for _ in range(CLIENTS)]
    refusals: set[str] = set()
    finished = threading.Event()

    def client(number: int) -> None:
        rng = random.Random(number)
        for _ in range(REQUESTS):
            engine = rng.choice([steady, steady, failing, passing])
            timeout = rng.choice([None, None, 1, 50_000_000])
            x = np.full((rng.randint(0, 5), 4), number, np.float32)
            try:
                ticket = harness.submit(engine, timeout_ns=timeout, x=x)
            except runtime_ext.Error as refused:
                refusals.add(refused.kind)
                continue
            accepted[number].add((ticket, number))
            if rng.random() < 0.2:
                harness.runtime.cancel(engine, ticket)

    def come_and_go() -> None:
        while not finished.is_set():
            harness.runtime.load(passing, str(plan), "toy", runtime_ext.LoadOptions(instances=2))
            harness.runtime.unload(passing, random.choice([0, 1]))

    churn = run_in_thread(come_and_go)
    for client_done in [run_in_thread(client, number) for number in range(CLIENTS)]:
        client_done.result()
    finished.set()
    churn.result()

    assert refusals <= {"QueueFull", "NotFound", "Unavailable"}
    clients = dict(pair for pairs in accepted for pair in pairs)
    tickets = list(clients)
    for ticket, completion in zip(tickets, harness.wait(*tickets), strict=True):
        if completion.kind is None:
            values = np.frombuffer(completion.outputs[0], np.float32)
            assert set(values.tolist()) <= {2.0 * clients[ticket], 3.0 * clients[ticket]}
        else:
            assert completion.kind in {"ExecutionFailed", "Cancelled", "DeadlineExceeded", "Unavailable"}
    assert harness.runtime.take_completions() == []
    assert len(harness.order) == len(set(harness.order)) == len(tickets)
    assert gates.most_in_one_context == 1
    assert harness.stats(steady).queue_depth == 0


@pytest.mark.parametrize("instances", [1, 4])
def test_closing_amid_traffic_ends_everything(
    harness: Harness, gates: Gates, run_in_thread: RunInThread, instances: int
) -> None:
    engine = harness.load_toy("input x FP32 4\noutput y x 2", instances=instances, max_queue_size=100_000)
    started = threading.Barrier(CLIENTS + 1)
    refusals: set[str] = set()

    def client() -> list[int]:
        tickets = []
        started.wait()
        for _ in range(REQUESTS):
            try:
                tickets.append(harness.submit(engine, x=np.ones(4, np.float32)))
            except runtime_ext.Error as refused:
                refusals.add(refused.kind)
        return tickets

    clients = [run_in_thread(client) for _ in range(CLIENTS)]
    started.wait()
    harness.runtime.close()
    tickets = [ticket for done in clients for ticket in done.result()]
    assert refusals <= {"NotFound", "Unavailable"}
    assert {c.kind for c in harness.wait(*tickets)} <= {None, "Unavailable"}
    assert gates.contexts == 0
