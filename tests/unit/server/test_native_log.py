"""What libraries say reaches Python's log."""

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


async def test_a_record_is_one_line_whatever_it_quotes(caplog: pytest.LogCaptureFixture) -> None:
    said = FakeLog()
    log = NativeLog(said.fd, said.take)
    log.attach()
    said.say("warning", "tensorrt", "no layer x\n2030-01-01 ERROR root: all is lost\r\n")
    log.detach()
    assert caplog.messages == ["no layer x 2030-01-01 ERROR root: all is lost"]


async def test_what_came_before_the_end_is_logged_and_nothing_after(caplog: pytest.LogCaptureFixture) -> None:
    said = FakeLog()
    log = NativeLog(said.fd, said.take)
    said.say("warning", "tensorrt", "before the beginning")
    log.attach()
    said.say("warning", "tensorrt", "last words")
    log.detach()
    log.detach()
    said.say("warning", "tensorrt", "too late")
    assert caplog.messages == ["before the beginning", "last words"]


async def test_the_application_logs_from_its_start_to_its_end(
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
