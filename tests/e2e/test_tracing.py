"""Traces of a real server: over HTTP and both servers of gRPC, of engines and modules, to a real receiver."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.grpc_calls import X, add, only_output, raw, stub
from tests.e2e.server import Server
from tests.e2e.test_modules import SIDE, Pipeline, archive, network
from tests.fakes.otlp import Receiver, attributes
from tests.waiting import wait_until

PARENT_ID = "00f067aa0ba902b7"
SERVICE = "inference.GRPCInferenceService"
PHASES = {"decode", "queue", "compute", "encode"}


@pytest.fixture(scope="module", params=["http", "grpc"])
def traced(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, each_grpc_server: None
) -> Iterator[tuple[Server, Receiver, Any]]:
    with Receiver() as receiver:
        endpoint = receiver.http_endpoint if request.param == "http" else receiver.grpc_endpoint
        options = ["--trace-endpoint", endpoint, "--trace-protocol", request.param, "--trace-rate", "0"]
        with (
            Server(tmp_path_factory.mktemp("traced") / "store", *options, grpc=True) as server,
            stub(server) as service,
        ):
            yield server, receiver, service


def parent(number: int, flags: str = "01") -> str:
    return f"00-{number:032x}-{PARENT_ID}-{flags}"


def spans_of(receiver: Receiver, number: int, least: int = 1) -> list[Any]:
    """The spans of a trace, once there are as many of requests as asked for."""

    def of_trace() -> list[Any]:
        return [span for span in receiver.spans if int(span.trace_id.hex(), 16) == number]

    def requests() -> int:
        return sum(span.kind == span.SPAN_KIND_SERVER for span in of_trace())

    wait_until(lambda: requests() >= least, "the spans")
    return of_trace()


def test_a_request_is_traced_over_every_protocol(traced: tuple[Server, Receiver, Any], plan: bytes) -> None:
    server, receiver, service = traced
    add(server, plan, name="double")
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    answer = server.client.post("/engines/double/infer", json=body, headers={"traceparent": parent(1)})
    assert answer.headers["traceresponse"].startswith(f"00-{1:032x}-")
    for number in (2, 3):  # new, and like an earlier one
        output, call = service.ModelInfer.with_call(
            raw("double", X), metadata=[("traceparent", parent(number))]
        )
        assert only_output(output).tolist() == (2 * X).tolist()
        assert dict(call.trailing_metadata())["traceresponse"].startswith(f"00-{number:032x}-")
    stream = service.ModelStreamInfer(iter([raw("double", X)] * 2), metadata=[("traceparent", parent(4))])
    assert len(list(stream)) == 2
    for number, name, requests in (
        (1, "POST /engines/{ref}/infer", 1),
        (2, f"{SERVICE}/ModelInfer", 1),
        (3, f"{SERVICE}/ModelInfer", 1),
        (4, f"{SERVICE}/ModelStreamInfer", 2),
    ):
        found = spans_of(receiver, number, requests)
        own = [span for span in found if span.kind == span.SPAN_KIND_SERVER]
        assert [span.name for span in own] == [name] * requests
        assert {span.parent_span_id.hex() for span in own} == {PARENT_ID}
        assert {attributes(span)["trtserve.engine"] for span in own} == {"double"}
        for each in own:
            inside = [span for span in found if span.parent_span_id == each.span_id]
            assert {span.name for span in inside} == PHASES
            within = (each.start_time_unix_nano, each.end_time_unix_nano)
            assert all(
                within[0] <= s.start_time_unix_nano <= s.end_time_unix_nano <= within[1] for s in inside
            )


def test_a_caller_that_does_not_sample_is_not_traced(
    traced: tuple[Server, Receiver, Any], plan: bytes
) -> None:
    server, receiver, service = traced
    add(server, plan, name="quiet")
    _, call = service.ModelInfer.with_call(raw("quiet", X), metadata=[("traceparent", parent(11, "00"))])
    assert "traceresponse" not in dict(call.trailing_metadata())
    service.ModelInfer(raw("quiet", X), metadata=[("traceparent", parent(12))])
    spans_of(receiver, 12)
    assert not [span for span in receiver.spans if int(span.trace_id.hex(), 16) == 11]


def test_a_module_is_traced_like_an_engine(traced: tuple[Server, Receiver, Any]) -> None:
    server, receiver, _ = traced
    add(server, network(), name="net")
    content = archive(Pipeline())
    server.client.post("/modules", params={"name": "calling"}, content=content).raise_for_status()
    x = {"name": "x", "shape": [1, SIDE], "datatype": "FP32", "data": [0.5] * SIDE}
    headers = {"traceparent": parent(21)}
    server.client.post("/modules/calling/infer", json={"inputs": [x]}, headers=headers).raise_for_status()
    found = spans_of(receiver, 21)
    (own,) = [span for span in found if span.kind == span.SPAN_KIND_SERVER]
    assert own.name == "POST /modules/{ref}/infer"
    assert attributes(own)["trtserve.engine"] == "calling"
    assert {span.name for span in found} == {own.name, *PHASES}
    (linked,) = [link.span_id for span in found for link in span.links]
    (call,) = [span for span in receiver.spans if span.parent_span_id == linked]
    assert (call.name, attributes(call)["trtserve.engine"]) == ("call", "net")


def test_a_collector_that_does_not_answer_holds_neither_requests_nor_the_stop_up(
    tmp_path: Path, plan: bytes
) -> None:
    with Receiver() as receiver:
        receiver.gate.clear()
        options = ["--trace-endpoint", receiver.http_endpoint, "--trace-rate", "1"]
        with Server(tmp_path / "store", *options) as server:
            add(server, plan, name="net")
            assert receiver.arrived.acquire(timeout=60), "nothing was exported"
            body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
            for _ in range(50):
                server.client.post("/engines/net/infer", json=body).raise_for_status()
            server.stop()
        assert "Traceback" not in server.log
