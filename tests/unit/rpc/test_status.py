"""The status of failed calls, and of failed requests in a stream."""

import re
from pathlib import Path

import pytest
from grpc import StatusCode

from tests.fakes.values import error
from trtserve.errors import HTTP_STATUS, ExecutionFailed, NotFound
from trtserve.rpc import status

DOCUMENT = Path(__file__).parents[3] / "docs" / "api.md"
ROW = re.compile(r"^\| `([A-Z_]+)` \| (.*) \|$", re.MULTILINE)


def test_every_kind_of_error_has_its_documented_status() -> None:
    table = DOCUMENT.read_text().partition("\n| status | code |\n")[2].partition("\n\n")[0]
    told = {
        kind: StatusCode[status]
        for status, cell in ROW.findall(table)
        for kind in re.findall(r"`(\w+)`", cell.partition(";")[0])
    }
    assert told == status.GRPC_STATUS
    assert told.keys() == HTTP_STATUS.keys()


def test_a_bug_is_logged_and_hidden_from_the_client(caplog: pytest.LogCaptureFixture) -> None:
    counted: list[str] = []
    told = status.tell(KeyError("secret"), counted.append)
    assert told.kind == "ExecutionFailed"
    assert "secret" not in told.sentence
    assert counted == ["ExecutionFailed"]
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    "failure", [NotFound("No."), ExecutionFailed("Broken."), error("QueueFull", "Full.")]
)
def test_an_expected_error_is_counted_and_not_logged(
    caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    counted: list[str] = []
    told = status.tell(failure, counted.append)
    assert told.sentence == str(failure)
    assert counted == [told.kind]
    assert caplog.text == ""


def test_a_call_ends_with_a_status_a_sentence_and_machine_readable_metadata() -> None:
    told = status.tell(error("Unavailable", "Not now."), lambda kind: None)
    assert status.status(told) == (
        StatusCode.UNAVAILABLE,
        "Not now.",
        (("code", "Unavailable"), ("retry-after", "1")),
    )
