"""A server with tokens, over HTTP and over gRPC with both of its servers."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from tests.e2e.grpc_calls import X, add, error_count, only_output, raw, refusal
from tests.e2e.server import HANGS_AFTER_S, SERVE, Server, environment
from tests.tokens import Tokens
from tests.waiting import wait_until
from trtserve.access.scopes import METHODS

RAW = {"request_serializer": None, "response_deserializer": None}
NEEDY = sorted(path for path, need in METHODS.items() if not need.open)


class Guarded:
    """A server with tokens, and a token for each purpose."""

    def __init__(self, server: Server, tokens: Tokens) -> None:
        self.server = server
        self.tokens = tokens
        self.infer = tokens.add("infer", name="infer")
        self.of_double = tokens.add("infer", "manage", engines=("doub*",), name="double")
        self.of_other = tokens.add("infer", "manage", "metrics", engines=("other-*",), name="other")
        self.metrics = tokens.add("metrics", name="metrics")

    def wait_until_read(self, works: Callable[[], bool]) -> None:
        wait_until(works, "the token file to be read again")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, each_grpc_server: None) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    tokens = Tokens(folder / "tokens.json")
    server = Server(folder / "store", "--token-file", str(tokens.file), grpc=True)
    server.headers = {"Authorization": tokens.add("infer", "manage", "metrics", name="all")}
    held = Guarded(server, tokens)
    with server:
        yield held


@pytest.fixture
def double(guarded: Guarded, plan: bytes) -> Guarded:
    add(guarded.server, plan, name="double")
    return guarded


@pytest.fixture
def channel(guarded: Guarded) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(guarded.server.grpc_address) as channel:
        yield channel


def call(channel: grpc.Channel, path: str, message: bytes = b"", token: str | None = None) -> Any:
    """The answer's bytes, or the error, of a call that has one request."""
    metadata = () if token is None else (("authorization", token),)
    try:
        return channel.unary_unary(path, **RAW)(message, metadata=metadata, timeout=HANGS_AFTER_S)
    except grpc.RpcError as error:
        return error


def code(answer: Any) -> StatusCode:
    return answer.code() if isinstance(answer, grpc.RpcError) else StatusCode.OK


@pytest.mark.parametrize("path", NEEDY)
def test_every_method_but_the_open_ones_asks_for_a_token(channel: grpc.Channel, path: str) -> None:
    refused = call(channel, path)
    assert code(refused) is StatusCode.UNAUTHENTICATED
    assert "no token" in refused.details()
    refused = call(channel, path, token="Bearer trtserve_00000000_x")
    assert code(refused) is StatusCode.UNAUTHENTICATED
    assert "does not know" in refused.details()


@pytest.mark.parametrize("path", NEEDY)
def test_every_method_refuses_a_token_without_its_scope(
    guarded: Guarded, channel: grpc.Channel, path: str
) -> None:
    for scope, token in (("infer", guarded.infer), ("metrics", guarded.metrics)):
        if scope not in METHODS[path].scopes:
            refused = call(channel, path, token=token)
            assert code(refused) is StatusCode.PERMISSION_DENIED
            assert f"'{scope}' has {scope}" in refused.details()


NAMED = {
    "ModelReady": pb.ModelReadyRequest(name="double"),
    "ModelMetadata": pb.ModelMetadataRequest(name="double"),
    "ModelConfig": pb.ModelConfigRequest(name="double"),
    "ModelStatistics": pb.ModelStatisticsRequest(name="double"),
    "RepositoryModelLoad": pb.RepositoryModelLoadRequest(model_name="double"),
    "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name="double"),
    "TraceSetting": pb.TraceSettingRequest(model_name="double"),
    "ModelInfer": raw("double", X),
}
OF_ALL = {
    "RepositoryIndex": pb.RepositoryIndexRequest(),
    "ModelStatistics": pb.ModelStatisticsRequest(),
    "TraceSetting": pb.TraceSettingRequest(),
    "LogSettings": pb.LogSettingsRequest(),
}


@pytest.mark.parametrize("name", NAMED)
def test_every_method_about_an_engine_refuses_a_token_for_others(
    double: Guarded, channel: grpc.Channel, name: str
) -> None:
    path, message = f"/inference.GRPCInferenceService/{name}", NAMED[name].SerializeToString()
    refused = call(channel, path, message, double.of_other)
    assert code(refused) is StatusCode.PERMISSION_DENIED
    assert "for the engines other-*, and 'double' is none of them" in refused.details()
    if name not in {"RepositoryModelUnload", "RepositoryModelLoad"}:
        assert isinstance(call(channel, path, message, double.of_double), bytes)


@pytest.mark.parametrize("name", OF_ALL)
def test_what_is_about_all_engines_refuses_a_token_for_some(
    double: Guarded, channel: grpc.Channel, name: str
) -> None:
    path, message = f"/inference.GRPCInferenceService/{name}", OF_ALL[name].SerializeToString()
    refused = call(channel, path, message, double.of_other)
    assert code(refused) is StatusCode.PERMISSION_DENIED
    everything = double.server.headers["Authorization"]
    assert isinstance(call(channel, path, message, everything), bytes)


def test_an_inference_needs_its_token_each_time(double: Guarded, channel: grpc.Channel) -> None:
    infer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer
    for _ in range(3):  # unlike others, like one, known
        answer = infer(raw("double", X), metadata=(("authorization", double.infer),))
        assert (only_output(answer) == 2 * X).all()
        for token, expected in (
            (double.of_other, StatusCode.PERMISSION_DENIED),
            (double.metrics, StatusCode.PERMISSION_DENIED),
            (double.infer + "x", StatusCode.UNAUTHENTICATED),
        ):
            refused = refusal(infer, raw("double", X), metadata=(("authorization", token),))
            assert refused.code() is expected
        assert refusal(infer, raw("double", X)).code() is StatusCode.UNAUTHENTICATED
        twice = (("authorization", double.infer), ("authorization", double.infer))
        assert refusal(infer, raw("double", X), metadata=twice).code() is StatusCode.UNAUTHENTICATED


def test_a_refused_call_does_not_wait_for_its_message(double: Guarded, channel: grpc.Channel) -> None:
    """A client that only begins a call, and sends nothing, is told at once."""
    path = "/inference.GRPCInferenceService/ModelInfer"
    never = iter(lambda: wait_until(lambda: False, "nothing"), None)
    call = channel.stream_unary(path, **RAW)
    refused = refusal(call, never, timeout=HANGS_AFTER_S)
    assert refused.code() is StatusCode.UNAUTHENTICATED


def test_each_request_of_a_stream_is_for_an_engine_of_its_token(
    double: Guarded, channel: grpc.Channel
) -> None:
    stream = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer
    requests = [raw("double", X), raw("nothing", X), raw("double", X)]
    answers = list(stream(iter(requests), metadata=(("authorization", double.of_double),)))
    assert [answer.error_message == "" for answer in answers] == [True, False, True]
    assert "'nothing' is none of them" in answers[1].error_message
    assert refusal(lambda: list(stream(iter(requests)))).code() is StatusCode.UNAUTHENTICATED


def test_a_stream_ends_working_when_its_token_is_removed(double: Guarded, channel: grpc.Channel) -> None:
    token = double.tokens.add("infer", name="stream")
    mine = (("authorization", token),)

    def is_known() -> bool:
        path = "/inference.GRPCInferenceService/ModelInfer"
        found = code(call(channel, path, raw("double", X).SerializeToString(), token))
        assert found in {StatusCode.OK, StatusCode.UNAUTHENTICATED}
        return found is StatusCode.OK

    double.wait_until_read(is_known)
    more = True

    def requests() -> Iterator[Any]:
        while more:
            yield raw("double", X)

    answers = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(requests(), metadata=mine)
    assert next(answers).error_message == ""
    double.tokens.remove("stream")
    assert any("does not know" in answer.error_message for answer in answers)
    more = False
    answers.cancel()
    assert not is_known()


def test_health_and_reflection_need_no_token(guarded: Guarded, channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    assert health.Check(health_pb2.HealthCheckRequest()).status == health_pb2.HealthCheckResponse.SERVING
    service = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    assert service.ServerLive(pb.ServerLiveRequest()).live
    assert service.ServerReady(pb.ServerReadyRequest()).ready


def test_an_unknown_method_is_for_nobody(guarded: Guarded, channel: grpc.Channel) -> None:
    path = "/inference.GRPCInferenceService/Nothing"
    assert code(call(channel, path)) is StatusCode.UNAUTHENTICATED
    everything = guarded.server.headers["Authorization"]
    assert code(call(channel, path, token=everything)) is StatusCode.PERMISSION_DENIED


def test_refused_calls_are_counted_once(guarded: Guarded, channel: grpc.Channel) -> None:
    before = error_count(guarded.server, "InvalidInput")
    missing = guarded.server.metric("trtserve_requests_refused_total", reason="missing")
    for path in NEEDY:
        call(channel, path)
    assert error_count(guarded.server, "InvalidInput") == before + len(NEEDY)
    assert guarded.server.metric("trtserve_requests_refused_total", reason="missing") == missing + len(NEEDY)


def test_a_file_that_turns_bad_changes_nothing_and_the_log_says_so(guarded: Guarded) -> None:
    good = guarded.tokens.file.read_bytes()
    guarded.tokens.file.write_text("{")
    wait_until(lambda: "read last stay valid" in guarded.server.log, "the warning")
    assert guarded.server.client.get("/engines").status_code == 200
    guarded.tokens.file.write_bytes(good)


# -- start


def serve(store: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [*SERVE, "serve", "--port", "0", "--grpc-port", "off", "--store", str(store), *options]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=HANGS_AFTER_S, check=False
    )


def test_a_server_that_others_can_reach_does_not_start_open(tmp_path: Path) -> None:
    ended = serve(tmp_path / "store", "--host", "0.0.0.0")
    assert ended.returncode == 1
    assert "anyone could upload" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "store").exists()


def test_a_bad_token_file_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    file.write_text("{}")
    file.chmod(0o644)
    ended = serve(tmp_path / "store", "--token-file", str(file))
    assert ended.returncode == 1
    assert f"Error: The token file {file} has the mode 0644" in ended.stderr
    assert "Traceback" not in ended.stderr
