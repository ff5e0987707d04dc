"""The last lines of the log, over HTTP."""

import logging
from collections.abc import Iterator

import httpx
import pytest

from tests.asgi import refused
from trtserve.recent_log import KEPT, LONGEST, RecentLog

pytestmark = pytest.mark.anyio
LOGGER = logging.getLogger("trtserve.tested")


@pytest.fixture(autouse=True)
def everything_is_logged() -> Iterator[None]:
    LOGGER.setLevel(logging.DEBUG)
    yield
    LOGGER.setLevel(logging.NOTSET)


async def lines(client: httpx.AsyncClient, **asked: str | int) -> list[dict[str, str]]:
    answer = await client.get("/logs", params=asked)
    answer.raise_for_status()
    return [line for line in answer.json()["lines"] if line["logger"] == LOGGER.name]


async def test_lines_come_in_their_order_with_time_level_and_place(client: httpx.AsyncClient) -> None:
    LOGGER.info("first %d", 1)
    LOGGER.warning("second")
    first, second = await lines(client)
    assert (first["level"], first["message"], first["exception"]) == ("info", "first 1", None)
    assert (second["level"], second["message"]) == ("warning", "second")
    assert first["time"] <= second["time"]


async def test_a_level_leaves_out_what_is_below_it(client: httpx.AsyncClient) -> None:
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        LOGGER.log(level, "at %d", level)
    assert [line["level"] for line in await lines(client, level="warning")] == ["warning", "error"]


async def test_a_limit_keeps_the_newest(client: httpx.AsyncClient) -> None:
    for number in range(5):
        LOGGER.info("%d", number)
    assert [line["message"] for line in await lines(client, limit=2)] == ["3", "4"]


async def test_the_end_of_a_traceback_is_shown(client: httpx.AsyncClient) -> None:
    try:
        raise ValueError("the reason")
    except ValueError:
        LOGGER.exception("it failed")
    (line,) = await lines(client)
    assert line["exception"].endswith("ValueError: the reason")


async def test_what_is_kept_is_bounded(client: httpx.AsyncClient) -> None:
    for number in range(KEPT + 10):
        LOGGER.info("%d %s", number, "x" * 2 * LONGEST)
    kept = await lines(client, limit=KEPT)
    assert len(kept) == KEPT
    assert all(len(line["message"]) == LONGEST for line in kept)


@pytest.mark.parametrize("asked", [{"limit": 0}, {"limit": KEPT + 1}, {"level": "loud"}])
async def test_a_wrong_query_is_refused(client: httpx.AsyncClient, asked: dict[str, str | int]) -> None:
    refused(await client.get("/logs", params=asked), 400, "InvalidInput")


async def test_nothing_is_kept_once_it_is_detached() -> None:
    log = RecentLog()
    log.attach()
    log.detach()
    LOGGER.error("later")
    assert log.last(1) == []
