"""The thread that writes the access log: what it writes, and what it does if nobody reads it."""

import io
import logging
import threading
import time
from collections.abc import Iterator

import pytest

from tests.waiting import HANGS_AFTER_S, wait_until
from trtserve.server.log_format import log_to
from trtserve.settings import Settings
from trtserve.telemetry.access_log import AccessLog
from trtserve.telemetry.observed import SUCCESS
from trtserve.telemetry.observer import Observer

ALL = Settings(access_log="all")


class Reader(io.StringIO):
    """Takes what is written only while the gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.writes = 0
        self.held = threading.Event()  # a write waits

    def write(self, text: str) -> int:
        if not self.gate.is_set():
            self.held.set()
            assert self.gate.wait(HANGS_AFTER_S)
        self.writes += 1
        return super().write(text)

    def ids(self) -> list[str]:
        lines = (line for line in self.getvalue().splitlines() if " trtserve.access: " in line)
        return [line.split(" id=")[1].split(" ")[0] for line in lines]


@pytest.fixture
def reader() -> Iterator[Reader]:
    root = logging.getLogger()
    before = root.handlers.copy()
    reader = Reader()
    log_to(reader, ALL)
    yield reader
    reader.gate.set()
    for handler in root.handlers.copy():
        if handler not in before:
            root.removeHandler(handler)


def end(log: AccessLog, *ids: str, clock: int | None = None) -> None:
    observer = Observer(ALL, log=log, clock=time.monotonic_ns if clock is None else lambda: clock)
    for id in ids:
        observed = observer.begin((id.encode(), None, None, None))
        assert observed is not None
        observed.asks("GET", "/", "", 0)
        observed.end(200, SUCCESS, 0)


def ids(count: int) -> list[str]:
    return [f"r{number}" for number in range(count)]


def test_lines_are_written_in_order_and_several_at_once(reader: Reader) -> None:
    log = AccessLog(ALL)
    end(log, "before")
    log.start()
    end(log, *ids(1000))
    log.close()
    end(log, "after")
    assert reader.ids() == ["before", *ids(1000), "after"]
    assert reader.writes < 200
    assert (log.written, log.dropped) == (1002, 0)


def test_a_line_comes_without_another_request_or_the_end(reader: Reader) -> None:
    log = AccessLog(ALL)
    log.start()
    for count in (1, 2):
        end(log, f"r{count - 1}")
        wait_until(lambda count=count: reader.ids() == ids(count), "the line")  # type: ignore[misc]
    log.close()


def test_a_reader_that_stops_holds_nobody_up_and_costs_only_what_finds_no_room(reader: Reader) -> None:
    log = AccessLog(ALL, most_waiting=3)
    log.start()
    reader.gate.clear()
    end(log, "held")
    assert reader.held.wait(HANGS_AFTER_S)
    end(log, *ids(5))  # returns
    assert log.dropped == 2
    reader.gate.set()
    wait_until(lambda: "2 lines of the access log were dropped" in reader.getvalue(), "the warning")
    end(log, "later")
    log.close()
    assert reader.ids() == ["held", *ids(3), "later"]
    assert (log.written, log.dropped) == (5, 2)
    assert reader.getvalue().count("were dropped") == 1


def test_a_line_has_the_time_of_the_end_and_not_of_its_writing(
    reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trtserve.access")
    an_hour_ago = time.monotonic_ns() - 3600 * 10**9
    before = time.time()
    end(AccessLog(ALL), "old", clock=an_hour_ago)
    (record,) = caplog.records
    assert before - 3700 < record.created < before - 3500
