"""Spans as a collector gets them, over HTTP and gRPC, from the times of requests."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.fakes.otlp import Receiver, attributes
from trtserve.settings import Settings
from trtserve.telemetry.observed import SUCCESS, Observed
from trtserve.telemetry.observer import Observer
from trtserve.telemetry.otlp import Exporting, Lost, OverGrpc, OverHttp, headers_of
from trtserve.telemetry.sampling import Draws, Sampler
from trtserve.telemetry.spans import Spans, resource_of
from trtserve.telemetry.tracing import Tracing

AHEAD = 1_700_000_000_000_000_000  # of the wall clock, in nanoseconds
TRACE_ID, PARENT_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE_ID}-{PARENT_ID}-01".encode()
TIMEOUT_S = 20.0
ENDED = {"began": 100, "taken": 700, "written": 750}
TIMES = (5, 200, 300, 350, 500, 600)


class Served:
    engine_id = 7
    served_as = ("net", "2")


class Completed:
    batch_requests = 2
    calls = (
        (8, "first", 310, 400, None),
        (9, "second", 400, 480, "ExecutionFailed"),
    )

    def __init__(self, times: tuple[int, int, int, int, int, int]) -> None:
        self.times = times


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(params=["http", "grpc"])
def exporting(request: pytest.FixtureRequest, receiver: Receiver) -> Iterator[Exporting]:
    over: Any = OverHttp if request.param == "http" else OverGrpc
    endpoint = receiver.http_endpoint if request.param == "http" else receiver.grpc_endpoint
    exporting = Exporting(Spans(resource_of("mine", {}), lambda: AHEAD), over(endpoint, TIMEOUT_S))
    yield exporting
    exporting.close()


def ended(
    parent: bytes | None = None,
    *,
    times: tuple[int, int, int, int, int, int] = TIMES,
    status: int | str = 200,
    kind: str = SUCCESS,
) -> Observed:
    """A request that has ended, at the times above."""
    clock = iter(ENDED.values()).__next__
    observer = Observer(Settings(), tracing=Tracing(Sampler(Draws(1.0)), Nowhere()), clock=clock)
    observed = observer.begin(None if parent is None else (b"mine", None, parent, b"a=1"))
    assert observed is not None
    route = "/engines/{ref}/infer"
    observed.asks("POST", "/engines/net/infer", route, 64, over_grpc=isinstance(status, str))
    observed.completed(Served(), Completed(times))  # type: ignore[arg-type]
    observed.headers()
    observed.end(status, kind, 80)
    return observed


class Nowhere:
    def send(self, ended: object) -> None: ...
    def close(self) -> None: ...


def by_name(receiver: Receiver) -> dict[str, Any]:
    return {span.name: span for span in receiver.spans}


def span_of(receiver: Receiver) -> Any:
    return by_name(receiver)["POST /engines/{ref}/infer"]


def test_a_request_is_a_span_with_its_phases_within_it(receiver: Receiver, exporting: Exporting) -> None:
    exporting.send([ended(PARENT)])
    own = span_of(receiver)
    assert (own.trace_id.hex(), own.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert own.trace_state == "a=1"
    assert own.flags == 0x301  # sampled; its parent is known to be remote
    assert own.kind == own.SPAN_KIND_SERVER
    assert (own.start_time_unix_nano - AHEAD, own.end_time_unix_nano - AHEAD) == (100, 750)
    phases = [span for span in receiver.spans if span.parent_span_id == own.span_id]
    assert [
        (span.name, span.start_time_unix_nano - AHEAD, span.end_time_unix_nano - AHEAD) for span in phases
    ] == [("decode", 100, 200), ("queue", 200, 300), ("compute", 300, 600), ("encode", 700, 750)]
    assert {span.trace_id for span in phases} == {own.trace_id}
    ids = [span.span_id for span in receiver.spans]
    assert len(set(ids)) == len(ids) == 8
    assert attributes(own) == {
        "http.request.method": "POST",
        "url.path": "/engines/net/infer",
        "http.response.status_code": 200,
        "http.route": "/engines/{ref}/infer",
        "trtserve.engine": "net",
        "trtserve.engine.version": "2",
        "trtserve.engine.id": "7",
        "trtserve.batch.requests": 2,
        "trtserve.request_id": "mine",
    }
    assert receiver.resources[0]["service.name"] == "mine"


def test_a_batch_is_a_span_that_is_linked_with_its_requests(receiver: Receiver, exporting: Exporting) -> None:
    other = (6, *TIMES[1:])
    exporting.send([ended(PARENT), ended(), ended(times=other)])  # type: ignore[arg-type]
    batches = [span for span in receiver.spans if span.name == "batch"]
    servers = [span for span in receiver.spans if span.kind == span.SPAN_KIND_SERVER]
    computes = [span for span in receiver.spans if span.name == "compute"]
    first, second = batches
    assert [link.span_id for link in first.links] == [span.span_id for span in servers[:2]]
    assert [link.span_id for link in second.links] == [servers[2].span_id]
    assert [[link.span_id for link in span.links] for span in computes] == [
        [first.span_id],
        [first.span_id],
        [second.span_id],
    ]
    assert len({span.trace_id for span in (*batches, *servers)}) == 5
    assert (first.start_time_unix_nano - AHEAD, first.end_time_unix_nano - AHEAD) == (300, 600)
    assert attributes(first)["trtserve.batch.requests"] == 2


def test_the_engines_that_a_module_called_are_spans_within_the_batch(
    receiver: Receiver, exporting: Exporting
) -> None:
    exporting.send([ended(PARENT), ended()])
    (batch,) = [span for span in receiver.spans if span.name == "batch"]
    calls = [span for span in receiver.spans if span.name == "call"]
    assert {(span.trace_id, span.parent_span_id) for span in calls} == {(batch.trace_id, batch.span_id)}
    assert [(s.start_time_unix_nano - AHEAD, s.end_time_unix_nano - AHEAD) for s in calls] == [
        (310, 400),
        (400, 480),
    ]
    first, second = calls
    assert attributes(first) == {"trtserve.engine": "first", "trtserve.engine.id": "8"}
    assert attributes(second)["error.type"] == second.status.message == "ExecutionFailed"
    assert [span.status.code for span in calls] == [
        first.status.STATUS_CODE_UNSET,
        second.status.STATUS_CODE_ERROR,
    ]


@pytest.mark.parametrize(
    ("status", "kind", "fault"),
    [(500, "ExecutionFailed", True), (404, "NotFound", False), ("INTERNAL", "ExecutionFailed", True)],
)
def test_a_failure_has_its_kind_and_is_an_error_if_the_server_is_at_fault(
    receiver: Receiver, exporting: Exporting, status: int | str, kind: str, fault: bool
) -> None:
    exporting.send([ended(status=status, kind=kind, times=(0, 0, 0, 0, 0, 0))])
    (own,) = receiver.spans
    assert attributes(own)["error.type"] == kind
    assert (own.status.code == own.status.STATUS_CODE_ERROR) is fault


def test_a_call_over_grpc_has_the_words_of_grpc(receiver: Receiver, exporting: Exporting) -> None:
    exporting.send([ended(status="OK")])
    own = next(span for span in receiver.spans if span.kind == span.SPAN_KIND_SERVER)
    assert attributes(own)["rpc.system"] == "grpc"
    assert attributes(own)["rpc.response.status_code"] == "OK"


def test_the_headers_of_the_environment_are_sent(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "Api-Key=a%20b, x=1")
    for collector in (
        OverHttp(receiver.http_endpoint, TIMEOUT_S),
        OverGrpc(receiver.grpc_endpoint, TIMEOUT_S),
    ):
        Exporting(Spans(resource_of("mine", {})), collector).send([ended()])
        collector.close()
    assert [(each["api-key"], each["x"]) for each in receiver.headers] == [("a b", "1")] * 2
    assert headers_of({"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "y=2", "OTEL_EXPORTER_OTLP_HEADERS": "x=1"}) == {
        "y": "2"
    }


def test_the_path_of_an_endpoint_is_kept_if_it_has_one(receiver: Receiver) -> None:
    for endpoint in (
        receiver.http_endpoint,
        f"{receiver.http_endpoint}/",
        f"{receiver.http_endpoint}/of/mine",
    ):
        collector = OverHttp(endpoint, TIMEOUT_S)
        Exporting(Spans(resource_of("mine", {})), collector).send([ended()])
        collector.close()
    assert receiver.paths == ["/v1/traces", "/v1/traces", "/of/mine"]


@pytest.mark.parametrize(("status", "again"), [(503, True), (429, True), (400, False), (401, False)])
def test_a_collector_over_http_that_refuses_says_whether_another_try_may_help(
    receiver: Receiver, status: int, again: bool
) -> None:
    receiver.statuses = [status]
    collector = OverHttp(receiver.http_endpoint, TIMEOUT_S)
    with pytest.raises(Lost, match=str(status)) as lost:
        Exporting(Spans(resource_of("mine", {})), collector).send([ended()])
    assert lost.value.again is again
    collector.close()


@pytest.mark.parametrize(
    ("code", "again"), [(grpc.StatusCode.UNAVAILABLE, True), (grpc.StatusCode.UNAUTHENTICATED, False)]
)
def test_a_collector_over_grpc_that_refuses_says_whether_another_try_may_help(
    receiver: Receiver, code: grpc.StatusCode, again: bool
) -> None:
    receiver.grpc_errors = [code]
    collector = OverGrpc(receiver.grpc_endpoint, TIMEOUT_S)
    with pytest.raises(Lost, match=code.name) as lost:
        Exporting(Spans(resource_of("mine", {})), collector).send([ended()])
    assert lost.value.again is again
    collector.close()


def test_a_collector_that_is_not_there_may_come() -> None:
    with Receiver() as gone:
        endpoints = gone.http_endpoint, gone.grpc_endpoint
    for collector in (OverHttp(endpoints[0], TIMEOUT_S), OverGrpc(endpoints[1], TIMEOUT_S)):
        with pytest.raises(Lost) as lost:
            Exporting(Spans(resource_of("mine", {})), collector).send([ended()])
        assert lost.value.again
        collector.close()


def test_the_resource_is_named_as_the_environment_says() -> None:
    environment = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.name=other"}
    assert attributes(resource_of("mine", environment))["service.name"] == "other"
    assert attributes(resource_of("mine", environment))["deployment.environment.name"] == "test"
    assert (
        attributes(resource_of("mine", {**environment, "OTEL_SERVICE_NAME": "third"}))["service.name"]
        == "third"
    )
