"""What is told of a request over gRPC besides its answer, by both servers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.e2e.grpc_calls import LONG, X, add, only_output, raw, refusal, stub
from tests.e2e.server import Server
from tests.seam.models import slow
from tests.waiting import wait_until

INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.fixture(scope="module")
def logging_server(
    tmp_path_factory: pytest.TempPathFactory, each_grpc_server: None
) -> Iterator[tuple[Server, Any]]:
    options = ["--access-log", "all", "--log-format", "json"]
    with (
        Server(tmp_path_factory.mktemp("observed") / "store", *options, grpc=True) as server,
        stub(server) as service,
    ):
        yield server, service


@pytest.fixture
def served(logging_server: tuple[Server, Any], plan: bytes) -> tuple[Server, Any]:
    add(logging_server[0], plan, name="net")
    return logging_server


def trailing(call: Any) -> dict[str, str]:
    return dict(call.trailing_metadata())


def lines(server: Server, id: str) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    return [record for record in records if record.get("request_id") == id]


def test_an_id_comes_back_and_is_in_the_line(served: tuple[Server, Any]) -> None:
    server, service = served
    for number in range(3):  # new, and like an earlier one
        sent = raw("net", X, id="a" * number)
        answer, call = service.ModelInfer.with_call(sent, metadata=[("x-request-id", f"id-{number}")])
        assert only_output(answer).tolist() == (2 * X).tolist()
        assert trailing(call)["x-request-id"] == f"id-{number}"
        wait_until(lambda number=number: lines(server, f"id-{number}"), "the line")  # type: ignore[misc]
        (line,) = lines(server, f"id-{number}")
        told = [line[name] for name in ("method", "target", "status", "outcome", "engine", "version")]
        assert told == ["gRPC", INFER, "OK", "Success", "net", "1"]
        assert line["received_bytes"] == sent.ByteSize()
        assert line["sent_bytes"] == answer.ByteSize()
        assert line["queue_ms"] + line["compute_ms"] <= line["total_ms"]


def test_an_unsafe_id_and_none_are_replaced(served: tuple[Server, Any]) -> None:
    _, service = served
    for metadata in ([("x-request-id", "a b")], []):
        _, call = service.ModelInfer.with_call(raw("net", X), metadata=metadata)
        assert re.fullmatch("[0-9a-f]{12}-[0-9a-f]+", trailing(call)["x-request-id"])


def test_the_times_are_told_to_who_prefers_it(served: tuple[Server, Any]) -> None:
    _, service = served
    for _ in range(2):
        _, call = service.ModelInfer.with_call(raw("net", X), metadata=[("prefer", "server-timing")])
        names = [part.split(";")[0] for part in trailing(call)["server-timing"].split(", ")]
        assert names == ["decode", "queue", "compute", "encode", "total"]
    _, call = service.ModelInfer.with_call(raw("net", X))
    assert "server-timing" not in trailing(call)


def test_a_call_that_fails_has_a_line_with_its_kind(served: tuple[Server, Any]) -> None:
    server, service = served
    error = refusal(service.ModelInfer, raw("other", X), metadata=[("x-request-id", "failed")])
    assert trailing(error)["x-request-id"] == "failed"
    assert trailing(error)["code"] == "NotFound"
    wait_until(lambda: lines(server, "failed"), "the line")
    (line,) = lines(server, "failed")
    assert (line["status"], line["outcome"]) == ("NOT_FOUND", "NotFound")


def test_a_call_that_fails_has_a_line_if_only_failures_have(each_grpc_server: None, tmp_path: Path) -> None:
    options = ["--access-log", "errors", "--log-format", "json"]
    with Server(tmp_path / "store", *options, grpc=True) as server, stub(server) as service:
        error = refusal(service.ModelInfer, raw("other", X))
        stream = service.ModelStreamInfer(iter([raw("other", X)]))
        assert [bool(answer.error_message) for answer in stream] == [True]
        id = trailing(error)["x-request-id"]
        wait_until(lambda: lines(server, id), "the line")
        (line,) = lines(server, id)
        assert (line["target"], line["outcome"]) == (INFER, "NotFound")
        wait_until(lambda: "ModelStreamInfer" in server.log, "the stream's line")


def test_each_request_of_a_stream_has_a_line(served: tuple[Server, Any]) -> None:
    server, service = served
    requests = [raw("net", X), raw("other", X), raw("net", X)]
    call = service.ModelStreamInfer(iter(requests), metadata=[("x-request-id", "stream")])
    assert [bool(answer.error_message) for answer in call] == [False, True, False]
    assert trailing(call)["x-request-id"] == "stream"
    wait_until(lambda: len(lines(server, "stream")) == len(requests), "the lines")
    assert sorted(line["outcome"] for line in lines(server, "stream")) == ["NotFound", "Success", "Success"]


def test_other_methods_have_a_line_too(served: tuple[Server, Any]) -> None:
    server, service = served
    metadata = [("x-request-id", "ready")]
    _, call = service.ModelReady.with_call(pb.ModelReadyRequest(name="net"), metadata=metadata)
    assert trailing(call)["x-request-id"] == "ready"
    wait_until(lambda: lines(server, "ready"), "the line")
    (line,) = lines(server, "ready")
    assert line["target"].endswith("/ModelReady")


def test_a_client_that_leaves_has_a_line(served: tuple[Server, Any], tmp_path: Path) -> None:

    server, service = served
    add(server, slow(tmp_path / "slow.onnx").read_bytes(), name="slow", instances=1)
    call = service.ModelInfer.future(LONG, metadata=[("x-request-id", "left")])
    server.wait_until_busy("slow")
    call.cancel()
    wait_until(lambda: lines(server, "left"), "the line")
    (line,) = lines(server, "left")
    assert (line["status"], line["outcome"]) == ("CANCELLED", "Cancelled")
