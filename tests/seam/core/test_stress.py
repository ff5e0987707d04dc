"""Stress tests with many threads on one runtime; never skipped, and also run by the sanitizers."""

import random
import threading

import numpy as np
import pytest

import runtime_ext
from tests.seam.conftest import Gates, Harness, RunInThread, to_numpy

CLIENTS = 8
REQUESTS = 200
POISON = 4096


def test_every_request_of_many_clients_completes_exactly_once_whatever_happens(
    harness: Harness, gates: Gates, run_in_thread: RunInThread
) -> None:
    """Clients submit, cancel and set deadlines while one engine is loaded and unloaded; a reader counts the
    ends."""
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
        rng = random.Random(0)
        while not finished.is_set():
            harness.runtime.load(passing, str(plan), "toy", runtime_ext.LoadOptions(instances=2))
            harness.runtime.unload(passing, rng.choice([0, 1]))

    churn = run_in_thread(come_and_go)
    try:
        for client_done in [run_in_thread(client, number) for number in range(CLIENTS)]:
            client_done.result()
    finally:
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


def submit_all_sorts(
    harness: Harness, number: int, engines: list[int], refusals: set[str]
) -> dict[int, np.ndarray]:
    """Submit requests of many shapes, sizes and priorities, some of which fail; return their data by
    ticket."""
    rng = random.Random(number)
    sent = {}
    for request in range(REQUESTS):
        engine = rng.choice(engines)
        value = POISON if rng.random() < 0.02 else number * REQUESTS + request
        x = np.full((rng.choice([0, 1, 1, 1, 2, 3, 5]), rng.randint(1, 3)), value, np.float32)
        timeout = rng.choice([None, None, 1, 50_000_000])
        try:
            ticket = harness.submit(engine, timeout, rng.randrange(3), x=x)
        except runtime_ext.Error as refused:
            refusals.add(refused.kind)
            continue
        sent[ticket] = x
        if rng.random() < 0.1:
            harness.runtime.cancel(engine, ticket)
    return sent


@pytest.mark.parametrize("delay_us", [0, 200, runtime_ext.AUTO_DELAY])
def test_every_request_gets_its_own_answer_from_batches_whatever_happens(
    harness: Harness, gates: Gates, run_in_thread: RunInThread, delay_us: int
) -> None:
    """Many clients submit all sorts of requests to batching engines, while one of these is loaded and
    unloaded."""
    lines = f"input x FP32 -1 -1\noutput y x 2\nsize n x 0\nfail_on {POISON}"
    profiles = "\n".join(f"profile x {low} 1 / {high} 9" for low, high in [(0, 3), (5, 6), (8, 16)])
    batch = runtime_ext.BatchOptions(
        max_batch_size=16, max_queue_delay_us=delay_us, preferred_batch_sizes=[5, 6, 8]
    )
    steady = [
        harness.load_toy(f"{lines}\n{profiles}", instances=4, batch=batch),
        harness.load_toy(lines, instances=1, max_queue_size=32, batch=batch),
    ]
    passing = 7777
    plan = harness.folder / "passing.plan"
    plan.write_text(f"toy 1\n{lines}\n")
    refusals: set[str] = set()
    finished = threading.Event()

    def come_and_go() -> None:
        rng = random.Random(0)
        while not finished.is_set():
            harness.runtime.load(passing, str(plan), "toy", runtime_ext.LoadOptions(instances=2, batch=batch))
            harness.runtime.unload(passing, rng.choice([0, 1]))

    churn = run_in_thread(come_and_go)
    clients = [
        run_in_thread(submit_all_sorts, harness, number, [*steady, passing], refusals)
        for number in range(CLIENTS)
    ]
    try:
        sent = {ticket: x for done in clients for ticket, x in done.result().items()}
    finally:
        finished.set()
    churn.result()

    assert refusals <= {"QueueFull", "NotFound", "Unavailable"}
    completions = harness.wait(*sent)
    for completion, x in zip(completions, sent.values(), strict=True):
        if completion.kind is None:
            y, n = (to_numpy(output) for output in completion.outputs)
            assert np.array_equal(y, 2 * x)
            assert (n <= 16).all()
        elif completion.kind == "ExecutionFailed":
            assert POISON in x
        else:
            assert completion.kind in {"Cancelled", "DeadlineExceeded", "Unavailable"}
            assert completion.batch_requests == 0 or completion.kind != "Cancelled"
    assert any(completion.batch_requests > 1 for completion in completions)
    assert harness.runtime.take_completions() == []
    assert len(harness.order) == len(set(harness.order)) == len(sent)
    assert gates.most_in_one_context == 1
    assert [harness.stats(engine).queue_depth for engine in steady] == [0, 0]
    assert [harness.stats(engine).instances_busy for engine in steady] == [0, 0]


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
