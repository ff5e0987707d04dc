"""What engines did between two looks at the metrics."""

from typing import NamedTuple

import pytest

from trtserve.client.engine_rates import Look, Rates, rates


class Counts(NamedTuple):
    name: str = "net"
    id: int = 7
    succeeded: int = 0
    slow: int = 0  # of them
    failed: int = 0
    items: int = 0
    executions: int = 0

    def page(self) -> str:
        labels = f'engine="{self.name}",id="{self.id}"'
        seconds = "trtserve_request_total_seconds_bucket"
        return f"""
trtserve_requests_total{{{labels},outcome="Success"}} {self.succeeded}
trtserve_requests_total{{{labels},outcome="QueueFull"}} {self.failed}
{seconds}{{{labels},le="0.001"}} {self.succeeded - self.slow}
{seconds}{{{labels},le="0.01"}} {self.succeeded}
{seconds}{{{labels},le="+Inf"}} {self.succeeded}
trtserve_batch_items_count{{{labels}}} {self.executions}
trtserve_batch_items_sum{{{labels}}} {self.items}
trtserve_queue_depth{{{labels}}} 3
trtserve_instances{{{labels}}} 2
trtserve_instances_busy{{{labels}}} 1
trtserve_engine_memory_bytes{{{labels},device="cpu",kind="host"}} 100
trtserve_engine_memory_bytes{{{labels},device="cuda:0",kind="weights"}} 200
process_open_fds 5
"""


def look(at: float, *engines: Counts) -> Look:
    return Look("".join(engine.page() for engine in engines), at)


def test_rates_are_those_between_two_looks_and_gauges_those_of_the_last() -> None:
    before = Counts(succeeded=1000, slow=1000, failed=10, items=5000, executions=1000)
    after = Counts(succeeded=1100, slow=1050, failed=30, items=5400, executions=1100)
    (found,) = rates(look(10.0, before), look(12.0, after))
    assert found == Rates(
        "net",
        7,
        requests_per_second=50.0,
        failed_per_second=10.0,
        p50_ms=pytest.approx(1.0),
        p99_ms=pytest.approx(1.0 + 9.0 * 49 / 50),
        items_per_execution=4.0,
        queued=3,
        busy=1,
        instances=2,
        memory_bytes=300,
    )


def test_an_engine_without_requests_has_no_latency_and_no_batch() -> None:
    (found,) = rates(look(0.0, Counts(succeeded=5)), look(1.0, Counts(succeeded=5)))
    assert (found.requests_per_second, found.p50_ms, found.p99_ms) == (0.0, None, None)
    assert found.items_per_execution is None


def test_a_counter_that_went_down_began_anew() -> None:
    (found,) = rates(look(0.0, Counts(succeeded=1000)), look(2.0, Counts(succeeded=10)))
    assert found.requests_per_second == 5.0


def test_engines_that_come_count_and_those_that_go_do_not_and_the_busiest_is_first() -> None:
    before = look(0.0, Counts("gone", 1, 10), Counts("b", 2, 10), Counts("a", 3, 10))
    after = look(1.0, Counts("b", 2, 10), Counts("a", 3, 10), Counts("new", 4, 7))
    assert [(one.name, one.requests_per_second) for one in rates(before, after)] == [
        ("new", 7.0), ("a", 0.0), ("b", 0.0),
    ]  # fmt: skip


def test_a_time_beyond_all_bounds_is_the_greatest_bound() -> None:
    labels = 'engine="net",id="7"'
    name = "trtserve_request_total_seconds_bucket"
    page = f'{name}{{{labels},le="10.0"}} 0\n{name}{{{labels},le="+Inf"}} 4\n'
    (found,) = rates(Look("", 0.0), Look(page, 1.0))
    assert (found.p50_ms, found.p99_ms) == (10_000.0, 10_000.0)
