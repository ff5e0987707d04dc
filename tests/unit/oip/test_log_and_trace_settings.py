"""The settings of the protocol's logging and trace extensions."""

import logging
from typing import Any

import pytest

from trtserve.errors import InvalidInput, Unsupported
from trtserve.oip import log_settings, trace_settings


@pytest.fixture(autouse=True)
def log_at_info() -> None:
    logging.getLogger().setLevel(logging.INFO)


def switches() -> tuple[object, ...]:
    settings = log_settings.log_settings()
    return tuple(settings[each] for each in ("log_verbose_level", "log_info", "log_warning", "log_error"))


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (logging.DEBUG, (1, True, True, True)),
        (logging.INFO, (0, True, True, True)),
        (logging.WARNING, (0, False, True, True)),
        (logging.ERROR, (0, False, False, True)),
        (logging.CRITICAL, (0, False, False, False)),
    ],
)
def test_switches_show_and_set_the_log_level(level: int, expected: tuple[object, ...]) -> None:
    logging.getLogger().setLevel(level)
    assert switches() == expected
    asked = log_settings.log_settings()
    logging.getLogger().setLevel(logging.INFO)
    assert log_settings.update(asked) == asked
    assert logging.getLogger().level == level


def test_settings_left_out_do_not_change() -> None:
    assert log_settings.update({"log_info": False})["log_warning"] is True
    assert logging.getLogger().level == logging.WARNING
    log_settings.update({"log_info": True})
    assert log_settings.update({"log_verbose_level": 3})["log_verbose_level"] == 1
    assert log_settings.update({"log_verbose_level": 1.0})["log_verbose_level"] == 1
    assert log_settings.update({}) == log_settings.log_settings()
    assert logging.getLogger().level == logging.DEBUG
    log_settings.update({"log_verbose_level": 0, "log_file": "", "log_format": "default"})
    assert logging.getLogger().level == logging.INFO


@pytest.mark.parametrize(
    "asked",
    [
        {"log_error": False},
        {"log_verbose_level": 1, "log_info": False},
        {"log_info": False, "log_file": "/tmp/x"},
        {"log_info": False, "log_format": "ISO8601"},
    ],
)
def test_unsupported_log_settings_are_refused_and_change_nothing(asked: dict[str, Any]) -> None:
    with pytest.raises(Unsupported):
        log_settings.update(asked)
    assert logging.getLogger().level == logging.INFO


@pytest.mark.parametrize(
    "asked",
    [
        {"log_everything": True},
        {"log_info": 1},
        {"log_info": None},
        {"log_verbose_level": -1},
        {"log_verbose_level": True},
        {"log_verbose_level": 1.5},
        {"log_file": 3},
    ],
)
def test_an_unknown_log_setting_is_refused_by_name(asked: dict[str, Any]) -> None:
    (setting,) = asked
    with pytest.raises(InvalidInput, match=setting):
        log_settings.update(asked)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"trace_level": None},
        {"trace_level": "OFF"},
        {"trace_level": ["OFF"]},
        {"trace_level": [], "trace_rate": ["1000"]},
        {"trace_rate": None, "trace_file": ""},
        {"trace_rate": 1000, "trace_count": -1.0, "log_frequency": [0]},
    ],
)
def test_tracing_is_off_and_can_be_turned_off_again(asked: dict[str, Any]) -> None:
    assert trace_settings.update(asked) == trace_settings.trace_settings()
    assert trace_settings.trace_settings()["trace_level"] == ["OFF"]


@pytest.mark.parametrize(
    "asked",
    [
        {"trace_level": ["TIMESTAMPS"]},
        {"trace_level": "TENSORS"},
        {"trace_rate": "1"},
        {"trace_file": "/tmp/x"},
    ],
)
def test_tracing_cannot_be_turned_on(asked: dict[str, Any]) -> None:
    (setting,) = asked
    with pytest.raises(Unsupported, match=f"^{setting} is asked to be .* traces no requests"):
        trace_settings.update(asked)


def test_an_unknown_trace_setting_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no trace setting 'level'; there are: trace_level, "):
        trace_settings.update({"level": "OFF"})
