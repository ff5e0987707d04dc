"""Traces of requests on the short way and the long one, as a collector gets them, and in the metrics."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.connections import WAYS, Connection, infer, listening, value
from tests.fakes.otlp import Receiver, attributes
from tests.fakes.runtime import FakeRuntime
from tests.waiting import until
from trtserve.server.app import create_app
from trtserve.services import services_of
from trtserve.settings import Settings
from trtserve.telemetry import tracing

pytestmark = pytest.mark.anyio

TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"traceparent: 00-{TRACE_ID}-{PARENT_ID}-01"
NOT_SAMPLED = f"traceparent: 00-{TRACE_ID}-{PARENT_ID}-00"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": True}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(tracing, "EVERY_S", 0.001)
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(params=["http", "grpc"])
def settings(settings: Settings, receiver: Receiver, request: pytest.FixtureRequest) -> Settings:
    endpoint = receiver.http_endpoint if request.param == "http" else receiver.grpc_endpoint
    chosen = {"trace_endpoint": endpoint, "trace_protocol": request.param, "trace_rate": 0.0}
    return settings.model_copy(update=chosen)


@pytest.fixture
async def app(settings: Settings, runtime: FakeRuntime, receiver: Receiver) -> AsyncIterator[FastAPI]:
    app = create_app(settings, runtime=runtime)
    async with app.router.lifespan_context(app):
        yield app


async def spans(app: FastAPI, receiver: Receiver, requests: int) -> list[Any]:
    traced = services_of(app).observer.tracing
    assert traced is not None
    await until(lambda: traced.sent == requests)
    return receiver.spans


@pytest.mark.parametrize("way", WAYS)
async def test_a_sampled_caller_gets_the_spans_of_its_request(
    served: FastAPI, receiver: Receiver, way: str
) -> None:
    async with listening(served) as server, Connection(server) as connection:
        answer = await connection.ask(infer(5, 1, SAMPLED, *WAYS[way]))
    assert value(answer) == 5
    told = {span.name: span for span in await spans(served, receiver, 1)}
    own = told.pop("POST /engines/{ref}/infer")
    assert set(told) == {"decode", "queue", "compute", "encode", "batch"}
    assert (own.trace_id.hex(), own.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert attributes(own)["trtserve.engine"] == "net"
    assert answer.header("traceresponse") == f"00-{TRACE_ID}-{own.span_id.hex()}-01"
    assert [link.span_id for link in told["batch"].links] == [own.span_id]
    assert [link.span_id for link in told["compute"].links] == [told["batch"].span_id]
    inside = [told[name] for name in ("decode", "queue", "compute", "encode")]
    assert {span.parent_span_id for span in inside} == {own.span_id}
    begins = [span.start_time_unix_nano for span in inside]
    assert begins == sorted(begins)
    assert own.start_time_unix_nano == begins[0]
    assert own.end_time_unix_nano == inside[-1].end_time_unix_nano


@pytest.mark.parametrize("way", WAYS)
async def test_nobody_else_is_traced_at_a_rate_of_none(served: FastAPI, receiver: Receiver, way: str) -> None:
    async with listening(served) as server, Connection(server) as connection:
        for headers in ([NOT_SAMPLED], [], ["traceparent: broken"]):
            answer = await connection.ask(infer(5, 1, *headers, *WAYS[way]))
            assert answer.header("traceresponse") is None
        await connection.ask(infer(5, 1, SAMPLED, *WAYS[way]))
    assert {span.trace_id.hex() for span in await spans(served, receiver, 1) if span.name != "batch"} == {
        TRACE_ID
    }


async def test_heads_that_differ_in_their_parents_are_one(served: FastAPI, receiver: Receiver) -> None:
    async with listening(served) as server, Connection(server) as connection:
        for number in range(5):
            head = f"traceparent: 00-{number + 1:032x}-{PARENT_ID}-0{number % 2}"
            assert value(await connection.ask(infer(number, 1, head))) == number
        known = server.short_way.heads._known.cache_info()
    assert (known.misses, known.hits) == (1, 4)
    assert len({span.trace_id for span in await spans(served, receiver, 2) if span.name != "batch"}) == 2


async def test_a_failed_request_is_traced_with_its_kind(served: FastAPI, receiver: Receiver) -> None:
    async with listening(served) as server, Connection(server) as connection:
        for way in WAYS.values():
            await connection.ask(infer(5, 1, SAMPLED, *way).replace(b"/net/", b"/not/"))
    told = await spans(served, receiver, 2)
    assert [attributes(span)["error.type"] for span in told] == ["NotFound", "NotFound"]


async def test_the_latency_has_exemplars_in_openmetrics_only(
    served: FastAPI, client: httpx.AsyncClient, receiver: Receiver
) -> None:
    async with listening(served) as server, Connection(server) as connection:
        await connection.ask(infer(5, 1, SAMPLED))
    page = await client.get("/metrics", headers=OPENMETRICS)
    families = {family.name: family for family in text_string_to_metric_families(page.text)}
    found = [
        (sample.labels["engine"], sample.labels["le"], sample.exemplar.labels, sample.exemplar.value)
        for sample in families["trtserve_request_total_seconds"].samples
        if sample.exemplar is not None
    ]
    assert found == [("net", "0.001", {"trace_id": TRACE_ID}, 3e-06)]
    assert TRACE_ID not in (await client.get("/metrics")).text
    (count,) = [
        s.value for s in families["trtserve_requests_traced"].samples if s.labels["outcome"] == "dropped"
    ]
    assert count == 0
