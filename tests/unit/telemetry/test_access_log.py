"""Which requests get a line, and what it looks like for people."""

import logging

import pytest

from trtserve.settings import Settings
from trtserve.telemetry.access_log import AccessLog
from trtserve.telemetry.observed import SUCCESS, Observed
from trtserve.telemetry.observer import Observer

MS = 1_000_000  # ns


class Served:
    engine_id = 7
    served_as = ("net", "2")


class Completed:
    """What is read of a completion."""

    times = (1, 2 * MS, 5 * MS, 6 * MS, 8 * MS, 9 * MS)
    batch_requests = 3


def ended(observer: Observer, target: str = "/engines/net/infer", kind: str = SUCCESS) -> None:
    observed = observer.begin((b"mine", None, None, None))
    assert isinstance(observed, Observed)
    observed.asks("POST", target, "", 64)
    observed.completed(Served(), Completed())  # type: ignore[arg-type]
    observed.headers()
    observed.end(200 if kind == SUCCESS else 500, kind, 80)


@pytest.fixture
def clock() -> "Clock":
    return Clock()


class Clock:
    """Moves on by a millisecond whenever it is read, from 1 ms; but the completion comes at 10 ms."""

    def __init__(self) -> None:
        self.times = iter([MS, 10 * MS, 11 * MS])

    def __call__(self) -> int:
        return next(self.times)


def observer(clock: Clock, chance: float = 0.5, **settings: object) -> Observer:
    given = Settings.model_validate(settings)
    return Observer(given, log=AccessLog(given, lambda: chance), clock=clock)


def test_a_line_for_people_has_everything_in_one_order(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trtserve.access")
    ended(observer(clock, access_log="all"))
    assert caplog.messages == [
        "POST /engines/net/infer 200 Success engine=net@2 id=mine in=64 out=80 decode=1.000ms queue=3.000ms "
        "compute=4.000ms encode=1.000ms total=10.000ms"
    ]


@pytest.mark.parametrize("target", ["/a b\n", "/é", "/" + "x" * 1000])
def test_a_target_cannot_break_a_line(clock: Clock, caplog: pytest.LogCaptureFixture, target: str) -> None:
    caplog.set_level(logging.INFO, "trtserve.access")
    ended(observer(clock, access_log="all"), target)
    (line,) = caplog.messages
    assert line.isascii()
    assert line.isprintable()
    assert line.split(" ")[2] == "200"
    assert len(line) < 500


@pytest.mark.parametrize(
    ("drawn", "kind", "written"),
    [
        (("all", 0.99), SUCCESS, True),
        (("sampled", 0.09), SUCCESS, True),
        (("sampled", 0.11), SUCCESS, False),
        (("sampled", 0.99), "QueueFull", True),
        (("errors", 0.0), SUCCESS, False),
        (("errors", 0.99), "QueueFull", True),
    ],
)
def test_a_share_of_those_that_went_well_and_all_others_are_written(
    clock: Clock, caplog: pytest.LogCaptureFixture, drawn: tuple[str, float], kind: str, written: bool
) -> None:
    caplog.set_level(logging.INFO, "trtserve.access")
    access_log, chance = drawn
    ended(observer(clock, chance, access_log=access_log, access_log_rate=0.1), kind=kind)
    assert len(caplog.messages) == written


def test_nothing_is_written_below_the_log_level(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "trtserve.access")
    ended(observer(clock, access_log="all"))
    assert caplog.messages == []


def test_only_the_first_end_counts(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "trtserve.access")
    given = Settings(access_log="all")
    observed = Observer(given).begin(None)
    assert observed is not None
    observed.end(499, "Cancelled", 0)
    observed.end(200, SUCCESS, 1)
    assert [" 499 Cancelled " in line for line in caplog.messages] == [True]


def test_nobody_is_observed_who_asks_for_nothing_while_all_is_off() -> None:
    observer = Observer(Settings())
    assert not observer.on
    assert observer.begin((None, b"respond-async", None, None)) is None
