"""Reading the server and its settings through the clients, and the clients' own features."""

from typing import Any

from tritonclient import http as triton_http

from tests.e2e.server import Server
from tests.e2e.triton.clients import (
    EVERYWHERE,
    TritonClient,
    also_holds,
    doubled,
    is_unsupported,
    refused,
)


@EVERYWHERE
def test_is_server_live(client: TritonClient) -> None:
    assert client.call("is_server_live") is True


@EVERYWHERE
def test_is_server_ready(client: TritonClient) -> None:
    assert client.call("is_server_ready") is True


@EVERYWHERE
def test_get_server_metadata(client: TritonClient) -> None:
    metadata = client.call("get_server_metadata")
    assert metadata["name"] == "trtserve"
    assert metadata["version"]
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(metadata["extensions"])


# -- tracing and logging


@EVERYWHERE
def test_get_trace_settings(client: TritonClient) -> None:
    answer = client.call("get_trace_settings")
    level = answer["settings"]["trace_level"]["value"] if client.is_grpc else answer["trace_level"]
    assert level == ["OFF"]
    assert client.call("get_trace_settings", "net") == answer
    assert "There is no" in refused(client, "get_trace_settings", "nobody").message()


@EVERYWHERE
def test_update_trace_settings(client: TritonClient) -> None:
    error = refused(client, "update_trace_settings", settings={"trace_level": ["TIMESTAMPS"]})
    assert is_unsupported(error)
    now = client.call("get_trace_settings")
    for off in ({"trace_level": ["OFF"]}, {"trace_level": None, "trace_rate": None}):
        assert client.call("update_trace_settings", "net", off) == now


LOGGED = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


def log_settings(client: TritonClient, method: str, *args: Any) -> dict[str, Any]:
    """The settings in a method's answer; over gRPC each is a oneof with one value."""
    answer = client.call(method, *args)
    if not client.is_grpc:
        return dict(answer)
    return {name: value for name, choice in answer["settings"].items() for value in choice.values()}


@EVERYWHERE
def test_get_log_settings(client: TritonClient) -> None:
    assert log_settings(client, "get_log_settings") == LOGGED


@EVERYWHERE
def test_update_log_settings(client: TritonClient) -> None:
    off = log_settings(client, "update_log_settings", {"log_info": False})
    assert off == LOGGED | {"log_info": False} == log_settings(client, "get_log_settings")
    verbose = {"log_info": True, "log_verbose_level": 1}
    assert log_settings(client, "update_log_settings", verbose) == LOGGED | verbose
    assert log_settings(client, "update_log_settings", {"log_verbose_level": 0}) == LOGGED
    assert is_unsupported(refused(client, "update_log_settings", {"log_file": "/tmp/elsewhere"}))


# -- features of the client alone


@EVERYWHERE
def test_close(kind: str, server: Server) -> None:
    with TritonClient(kind, server) as client:
        assert client.call("is_server_live")


class Plugin(triton_http.InferenceServerClientPlugin):  # type: ignore[misc]
    """Adds a header to every request, and counts requests."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, request: Any) -> None:
        self.calls += 1
        request.headers["x-from"] = "a plugin"


@also_holds("plugin", "unregister_plugin")
@EVERYWHERE
def test_register_plugin(client: TritonClient) -> None:
    plugin = Plugin()
    client.client.register_plugin(plugin)
    assert client.client.plugin() is plugin
    assert client.call("is_server_live")
    doubled(client)
    assert plugin.calls == 2
    client.client.unregister_plugin()
    assert client.client.plugin() is None
    doubled(client)
    assert plugin.calls == 2
