"""The watchdog over the event loop, with a loop that is really blocked and a clock of the test's own."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from tests.waiting import HANGS_AFTER_S
from trtserve.server.watchdog import EVERY_S, Watchdog

AFTER_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Watched:
    """An event loop in a thread, and its watchdog, which the test lets look."""

    loop: asyncio.AbstractEventLoop
    dog: Watchdog
    clock: Clock
    registry: CollectorRegistry

    def pass_time(self, seconds: float) -> None:
        """Let the watchdog look once a second, as its thread does."""
        for _ in range(int(seconds)):
            self.clock.now += EVERY_S
            self.dog.look()

    @property
    def stalls(self) -> float | None:
        return self.registry.get_sample_value("trtserve_event_loop_stalls_total")

    def block(self) -> threading.Event:
        """Keep the loop until the event that is returned is set."""
        blocked, goes_on = threading.Event(), threading.Event()

        def hang_here() -> None:
            blocked.set()
            goes_on.wait(HANGS_AFTER_S)

        self.loop.call_soon_threadsafe(hang_here)
        assert blocked.wait(HANGS_AFTER_S)
        return goes_on

    def turn(self) -> None:
        """Return once the loop has turned and told the watchdog so."""

        async def turns() -> None:
            self.dog.detach()
            self.dog.attach(asyncio.get_running_loop())

        asyncio.run_coroutine_threadsafe(turns(), self.loop).result(HANGS_AFTER_S)


@pytest.fixture
def watched() -> Iterator[Watched]:
    loop, clock, registry = asyncio.new_event_loop(), Clock(), CollectorRegistry()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    made = Watched(loop, Watchdog(registry, AFTER_S, clock), clock, registry)
    made.turn()
    yield made
    loop.call_soon_threadsafe(made.dog.detach)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(HANGS_AFTER_S)
    loop.close()


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_blocked_loop_is_reported_once_with_the_code_that_holds_it_up(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    goes_on = watched.block()
    watched.pass_time(AFTER_S)
    assert (watched.stalls, messages(caplog)) == (0, [])
    watched.pass_time(3 * AFTER_S)
    goes_on.set()
    (told,) = messages(caplog)
    assert "the event loop has not turned for 11 s" in told
    assert "in hang_here" in told
    assert watched.stalls == 1


def test_a_loop_that_turns_again_is_reported_and_may_be_stuck_again(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    for stalls in (1, 2):
        goes_on = watched.block()
        watched.pass_time(AFTER_S + 1)
        goes_on.set()
        watched.turn()
        watched.pass_time(1)
        assert messages(caplog)[-1] == "the event loop turns again"
        assert watched.stalls == stalls


def test_a_process_that_was_stopped_as_a_whole_has_no_stuck_loop(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    goes_on = watched.block()
    watched.clock.now += 5 * AFTER_S
    watched.dog.look()
    watched.pass_time(AFTER_S)
    assert watched.stalls == 0
    assert messages(caplog) == ["nothing in this process has run for 50 s"]
    watched.pass_time(1)
    goes_on.set()
    assert watched.stalls == 1
