"""Messages of native libraries reach Python's log."""

import logging

import pytest

from tests.fakes.log import FakeLog
from tests.fakes.runtime import FakeRuntime
from tests.waiting import until
from trtserve.server.app import create_app
from trtserve.server.native_log import NativeLog
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("severity", ["debug", "info", "warning", "error"])
async def test_a_record_is_logged_under_its_component_with_its_severity(
    caplog: pytest.LogCaptureFixture, severity: str
) -> None:
    caplog.set_level(logging.DEBUG)
    said = FakeLog()
    log = NativeLog(said.fd, said.take)
    log.attach()
    said.say(severity, "tensorrt", "built for 100% of the GPU")
    await until(lambda: len(caplog.records) == 1)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("trtserve.tensorrt", severity.upper())
    assert record.getMessage() == "built for 100% of the GPU"
    log.detach()


async def test_a_record_stays_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    said = FakeLog()
    log = NativeLog(said.fd, said.take)
    log.attach()
    said.say("warning", "tensorrt", "no layer x\n2030-01-01 ERROR root: all is lost\r\n")
    log.detach()
    assert caplog.messages == ["no layer x 2030-01-01 ERROR root: all is lost"]


async def test_closing_logs_earlier_records_and_drops_later_ones(caplog: pytest.LogCaptureFixture) -> None:
    said = FakeLog()
    log = NativeLog(said.fd, said.take)
    said.say("warning", "tensorrt", "before the beginning")
    log.attach()
    said.say("warning", "tensorrt", "last words")
    log.detach()
    log.detach()
    said.say("warning", "tensorrt", "too late")
    assert caplog.messages == ["before the beginning", "last words"]


async def test_the_application_forwards_native_records_from_start_to_stop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = FakeLog()
    monkeypatch.setattr("trtserve.server.app.NativeLog", lambda: NativeLog(said.fd, said.take))

    class Runtime(FakeRuntime):
        def close(self) -> None:
            super().close()
            said.say("warning", "tensorrt", "closed")

    app = create_app(settings, runtime=Runtime())
    async with app.router.lifespan_context(app):
        said.say("warning", "tensorrt", "running")
        await until(lambda: "running" in caplog.messages)
    assert caplog.messages == ["running", "closed"]
