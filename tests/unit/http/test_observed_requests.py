"""What is told of a request besides its answer, on the short way and the long one."""

import logging
import re

import httpx
import pytest
from fastapi import FastAPI

from tests.connections import INFER, WAYS, Answer, Connection, held, infer, listening, request, value
from tests.fakes.runtime import FakeRuntime, error
from tests.fakes.values import COMPUTE_NS, QUEUE_NS
from tests.waiting import until
from trtserve.settings import Settings

pytestmark = pytest.mark.anyio

ACCESS = "trtserve.access"
OURS = re.compile(r"[0-9a-f]{12}-[0-9a-f]+")


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(params=["off"])
def access_log(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(settings: Settings, access_log: str) -> Settings:
    return settings.model_copy(update={"access_log": access_log, "log_format": "json"})


LOGGED = pytest.mark.parametrize("access_log", ["all"], indirect=True)
BOTH_WAYS = pytest.mark.parametrize("way", WAYS)


async def asked(app: FastAPI, *requests: bytes) -> list[Answer]:
    async with listening(app) as server, Connection(server) as connection:
        return [await connection.ask(each) for each in requests]


async def lines(caplog: pytest.LogCaptureFixture, count: int) -> list[dict[str, object]]:
    """The access log's records, of which there will be this many: a thread writes them."""

    def written() -> list[dict[str, object]]:
        return [vars(record) for record in caplog.records if record.name == ACCESS]

    await until(lambda: len(written()) >= count)
    return written()


# -- IDs


@BOTH_WAYS
@pytest.mark.parametrize("id", ["7", "4bf92f35-77b3", "Root=1-67891233-abcdef", "a" * 128])
async def test_a_safe_id_comes_back(served: FastAPI, way: str, id: str) -> None:
    (answer,) = await asked(served, infer(5, 1, f"X-Request-Id: {id} ", *WAYS[way]))
    assert value(answer) == 5
    assert answer.header("x-request-id") == id


@BOTH_WAYS
@pytest.mark.parametrize("id", ["", "a b", "<script>", "é", "a" * 129])
async def test_any_other_id_is_replaced(served: FastAPI, way: str, id: str) -> None:
    first, second = await asked(served, *2 * [infer(5, 1, f"X-Request-Id: {id}", *WAYS[way])])
    ids = [first.header("x-request-id"), second.header("x-request-id")]
    assert all(OURS.fullmatch(each or "") for each in ids)
    assert ids[0] != ids[1]


@BOTH_WAYS
async def test_who_gives_no_id_gets_none_while_nothing_is_logged(served: FastAPI, way: str) -> None:
    (answer,) = await asked(served, infer(5, 1, *WAYS[way]))
    assert answer.header("x-request-id") is None


@BOTH_WAYS
async def test_the_id_comes_back_with_an_error_too(served: FastAPI, way: str) -> None:
    missing = infer(5, 1, "X-Request-Id: mine", *WAYS[way]).replace(b"/net/", b"/not/")
    malformed = request(INFER, b"[", "X-Request-Id: mine", *WAYS[way])
    for answer in await asked(served, missing, malformed):
        assert answer.status in {400, 404}
        assert answer.header("x-request-id") == "mine"


async def test_the_id_comes_back_on_every_address(client: httpx.AsyncClient) -> None:
    for path in ("/engines", "/health/live", "/nothing"):
        response = await client.get(path, headers={"X-Request-Id": "mine"})
        assert response.headers["x-request-id"] == "mine"


async def test_heads_that_differ_in_an_id_are_one(served: FastAPI) -> None:
    async with listening(served) as server, Connection(server) as connection:
        for number in range(5):
            answer = await connection.ask(infer(number, 1, f"X-Request-Id: {number}"))
            assert (value(answer), answer.header("x-request-id")) == (number, str(number))
        known = server.short_way.heads._known.cache_info()
    assert (known.misses, known.hits) == (1, 4)


# -- the access log


@LOGGED
@BOTH_WAYS
async def test_a_request_has_one_line_with_what_became_of_it(
    served: FastAPI, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    sent = infer(5, 1, "X-Request-Id: mine", *WAYS[way])
    (answer,) = await asked(served, sent)
    (line,) = await lines(caplog, 1)
    told = {name: line[name] for name in ("method", "target", "status", "outcome", "request_id", "engine")}
    assert told == {
        "method": "POST",
        "target": INFER,
        "status": 200,
        "outcome": "Success",
        "request_id": "mine",
        "engine": "net",
    }
    assert line["version"] == "1"
    assert line["received_bytes"] == len(sent.partition(b"\r\n\r\n")[2])
    assert line["sent_bytes"] == len(answer.body)
    assert (line["queue_ms"], line["compute_ms"]) == (QUEUE_NS / 1e6, COMPUTE_NS / 1e6)
    assert line["total_ms"] >= 0  # type: ignore[operator]


@LOGGED
@BOTH_WAYS
async def test_a_request_without_an_id_gets_the_one_in_its_line(
    served: FastAPI, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    (answer,) = await asked(served, infer(5, 1, *WAYS[way]))
    (line,) = await lines(caplog, 1)
    assert line["request_id"] == answer.header("x-request-id")
    assert OURS.fullmatch(str(line["request_id"]))


@pytest.mark.parametrize("access_log", ["errors", "all"], indirect=True)
@BOTH_WAYS
async def test_a_request_that_fails_has_a_line_with_its_kind(
    served: FastAPI, runtime: FakeRuntime, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    caplog.set_level(logging.INFO, ACCESS)

    def broken(_: object) -> list[object]:
        raise error("ExecutionFailed", "the engine broke")

    runtime.compute = broken  # type: ignore[assignment]
    missing = infer(5, 1, *WAYS[way]).replace(b"/net/", b"/not/")
    await asked(served, missing, infer(5, 1, *WAYS[way]))
    told = [(line["status"], line["outcome"], line.get("engine")) for line in await lines(caplog, 2)]
    assert told == [(404, "NotFound", None), (500, "ExecutionFailed", "net")]


@pytest.mark.parametrize("access_log", ["errors", "off"], indirect=True)
@BOTH_WAYS
async def test_a_request_that_goes_well_has_no_line_unless_it_is_asked_for(
    served: FastAPI, caplog: pytest.LogCaptureFixture, way: str, access_log: str
) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    well = infer(5, 1, "X-Request-Id: mine", *WAYS[way])
    await asked(served, well, well.replace(b"/net/", b"/not/"))
    expected = ["NotFound"] if access_log == "errors" else []
    assert [line["outcome"] for line in await lines(caplog, len(expected))] == expected


@LOGGED
@BOTH_WAYS
async def test_a_client_that_leaves_has_a_line(
    served: FastAPI, runtime: FakeRuntime, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    async with held(served, runtime, infer(5, 1, *WAYS[way])) as (_, connection):
        connection.reset()
        await lines(caplog, 1)
    (line,) = await lines(caplog, 1)
    assert (line["status"], line["outcome"]) == (499, "Cancelled")


@LOGGED
async def test_every_other_request_has_a_line_too(
    client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, ACCESS)
    await client.get("/engines?secret=1")
    await client.get("/nothing/caf%C3%A9%0a")
    told = [
        (line["method"], line["target"], line["status"], line["outcome"]) for line in await lines(caplog, 2)
    ]
    assert told == [
        ("GET", "/engines", 200, "Success"),
        ("GET", "/nothing/caf%C3%A9%0a", 404, "NotFound"),
    ]


# -- Server-Timing


@BOTH_WAYS
@pytest.mark.parametrize("prefer", ["server-timing", "Server-Timing", "wait=5, server-timing;a=b"])
async def test_the_times_of_a_request_are_told_to_who_prefers_it(
    served: FastAPI, way: str, prefer: str
) -> None:
    (answer,) = await asked(served, infer(5, 1, f"Prefer: {prefer}", *WAYS[way]))
    assert value(answer) == 5
    parts = [part.split(";dur=") for part in (answer.header("server-timing") or "").split(", ")]
    assert [name for name, _ in parts] == ["decode", "queue", "compute", "encode", "total"]
    times = {name: float(ms) for name, ms in parts}
    assert (times["queue"], times["compute"]) == (QUEUE_NS / 1e6, COMPUTE_NS / 1e6)


@BOTH_WAYS
@pytest.mark.parametrize("headers", [(), ("Prefer: respond-async",), ("Prefer: no-server-timing",)])
async def test_nobody_else_is_told(served: FastAPI, way: str, headers: tuple[str, ...]) -> None:
    (answer,) = await asked(served, infer(5, 1, *headers, *WAYS[way]))
    assert answer.header("server-timing") is None


@BOTH_WAYS
async def test_a_refused_request_is_told_only_its_total(served: FastAPI, way: str) -> None:
    missing = infer(5, 1, "Prefer: server-timing", *WAYS[way]).replace(b"/net/", b"/not/")
    (answer,) = await asked(served, missing)
    assert re.fullmatch(r"total;dur=[0-9.]+", answer.header("server-timing") or "")
