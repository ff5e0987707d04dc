"""The lines of the log, as people and programs read them."""

import io
import json
import logging
from datetime import datetime

from trtserve.server.log_format import log_to
from trtserve.settings import Settings


def test_each_record_is_one_json_object_on_one_line() -> None:
    stream = io.StringIO()
    log_to(stream, Settings(log_format="json"))
    logging.getLogger("trtserve.store").warning('a "plan"\nof %d bytes', 7)
    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert datetime.fromisoformat(record.pop("time")).utcoffset().total_seconds() == 0  # type: ignore[union-attr]
    assert record == {
        "level": "WARNING",
        "logger": "trtserve.store",
        "message": 'a "plan"\nof 7 bytes',
    }


def test_an_error_has_its_traceback_in_a_field_of_its_own() -> None:
    stream = io.StringIO()
    log_to(stream, Settings(log_format="json"))
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("trtserve").exception("it failed")
    record = json.loads(stream.getvalue())
    assert record["message"] == "it failed"
    assert record["exception"].endswith("ValueError: no")


def test_text_is_the_default_and_lower_levels_are_left_out() -> None:
    stream = io.StringIO()
    log_to(stream, Settings(log_level="warning"))
    logging.getLogger("trtserve").info("not this")
    logging.getLogger("trtserve").warning("but this")
    assert stream.getvalue().endswith(" WARNING trtserve: but this\n")
    assert len(stream.getvalue().splitlines()) == 1
