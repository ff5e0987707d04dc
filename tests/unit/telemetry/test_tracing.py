"""Requests on their way to a collector, which may be slow, down or gone: nothing waits for it."""

import logging
import sys
import threading
from collections.abc import Iterator, Sequence

import pytest

from tests.waiting import HANGS_AFTER_S, wait_until
from trtserve.errors import InvalidInput
from trtserve.settings import Settings
from trtserve.telemetry import tracing
from trtserve.telemetry.observed import Observed
from trtserve.telemetry.observer import Observer
from trtserve.telemetry.sampling import Draws, Sampler
from trtserve.telemetry.tracing import AT_ONCE, MOST_WAITING, Tracing


class Later(Exception):
    again = True


class Sends:
    """A collector that takes what comes, or fails as it is told."""

    def __init__(self) -> None:
        self.took: list[list[Observed]] = []
        self.failures: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.closed = False

    def send(self, ended: Sequence[Observed]) -> None:
        self.entered.set()
        assert self.gate.wait(HANGS_AFTER_S), "the test did not open the gate"
        if self.failures:
            raise self.failures.pop(0)
        self.took.append(list(ended))

    def close(self) -> None:
        self.closed = True
        self.gate.set()


@pytest.fixture
def sends() -> Sends:
    return Sends()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"EVERY_S": 0.001, "PAUSES_S": (0.001, 0.001)}.items():
        monkeypatch.setattr(tracing, name, value)


@pytest.fixture
def running(sends: Sends) -> Iterator[Tracing]:
    running = Tracing(Sampler(Draws(1.0)), sends)
    running.start()
    yield running
    sends.gate.set()
    running.close()


def end(to: Tracing, executions: Sequence[int] = (0,)) -> None:
    observer = Observer(Settings(), tracing=to)
    for execution in executions:
        observed = observer.begin(None)
        assert observed is not None
        observed.times = (execution, 0, 0, 0, 0, 0)
        observed.end(200, "Success", 0)


def test_what_has_ended_is_sent(running: Tracing, sends: Sends) -> None:
    end(running, range(10))
    wait_until(lambda: running.sent == 10, "the export")
    assert [one.times[0] for each in sends.took for one in each] == [*range(10)]
    assert (running.dropped, running.lost) == (0, 0)


def test_a_collector_that_does_not_answer_holds_nobody_up_and_memory_is_bounded(
    running: Tracing, sends: Sends
) -> None:
    sends.gate.clear()
    end(running)
    assert sends.entered.wait(HANGS_AFTER_S)
    end(running, range(MOST_WAITING + 7))  # returns, though nothing is taken
    assert running.dropped == 7
    sends.gate.set()
    wait_until(lambda: running.sent == MOST_WAITING + 1, "the export")


def test_another_try_may_help(running: Tracing, sends: Sends) -> None:
    sends.failures = [Later(), Later()]
    end(running)
    wait_until(lambda: running.sent == 1, "the export")
    assert running.lost == 0


@pytest.mark.parametrize("failures", [[Later(), Later(), Later()], [ValueError("no")]])
def test_what_is_not_taken_is_lost_and_the_next_goes_on(
    running: Tracing, sends: Sends, failures: list[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    sends.failures = failures
    end(running)
    wait_until(lambda: running.lost == 1, "the loss")
    end(running)
    wait_until(lambda: running.sent == 1, "the export")


def test_the_log_tells_of_a_collector_that_fails_once_and_when_it_is_back(
    running: Tracing, sends: Sends, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trtserve.telemetry.tracing")
    for number in range(3):
        sends.failures = [ValueError("no")]
        end(running)
        wait_until(lambda number=number: running.lost == number + 1, "the loss")  # type: ignore[misc]
    end(running)
    wait_until(lambda: len(caplog.messages) == 2, "the lines")
    assert caplog.messages == [
        "traces are lost, because the collector does not take them: no",
        "the collector takes traces again; those of 3 requests were lost",
    ]


def test_requests_of_one_execution_are_sent_together(sends: Sends) -> None:
    stopped = Tracing(Sampler(Draws(1.0)), sends)
    executions = [*range(1, AT_ONCE), 7777, 7777, 7777, 8888]
    end(stopped, executions)
    stopped.start()
    stopped.close()
    assert [[one.times[0] for one in each] for each in sends.took] == [executions[:-1], executions[-1:]]


def test_what_waits_is_sent_at_the_end(sends: Sends) -> None:
    stopped = Tracing(Sampler(Draws(1.0)), sends)
    end(stopped, range(3))
    stopped.start()
    stopped.close()
    assert stopped.sent == 3
    assert sends.closed


def test_an_end_does_not_wait_for_a_collector_that_does_not_answer(
    running: Tracing, sends: Sends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "CLOSES_WITHIN_S", 0.001)
    sends.gate.clear()
    end(running)
    assert sends.entered.wait(HANGS_AFTER_S)
    running.close()
    assert sends.closed


def without_otlp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("trtserve.telemetry.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "trtserve.telemetry.otlp", None)


def test_without_the_extra_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    without_otlp(monkeypatch)
    with pytest.raises(InvalidInput, match=r"install trtserve\[tracing\]"):
        Tracing.of(Settings(trace_endpoint="http://127.0.0.1:4318"))


def test_without_the_setting_nothing_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    without_otlp(monkeypatch)
    assert Tracing.of(Settings()) is None
