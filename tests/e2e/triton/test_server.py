"""What the clients are told of the server and its settings, and what is the clients' own."""

from typing import Any

from tritonclient import http as triton_http

from tests.e2e.server import Server
from tests.e2e.triton.clients import (
    EVERYWHERE,
    TritonClient,
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


@EVERYWHERE
def test_update_trace_settings(client: TritonClient) -> None:
    error = refused(client, "update_trace_settings", settings={"trace_level": ["TIMESTAMPS"]})
    assert is_unsupported(error)


@EVERYWHERE
def test_get_log_settings(client: TritonClient) -> None:
    answer = client.call("get_log_settings")
    assert ("settings" in answer) if client.is_grpc else (answer["log_error"] is True)


@EVERYWHERE
def test_update_log_settings(client: TritonClient) -> None:
    client.call("update_log_settings", {"log_info": False})
    client.call("update_log_settings", {"log_info": True})
    assert is_unsupported(refused(client, "update_log_settings", {"log_file": "/tmp/elsewhere"}))


# -- what is the client's alone


@EVERYWHERE
def test_close(kind: str, server: Server) -> None:
    with TritonClient(kind, server) as client:
        assert client.call("is_server_live")


class Plugin(triton_http.InferenceServerClientPlugin):  # type: ignore[misc]
    """Adds a header to every request."""

    def __call__(self, request: Any) -> None:
        request.headers["x-from"] = "a plugin"


@EVERYWHERE
def test_register_plugin(client: TritonClient) -> None:
    plugin = Plugin()
    client.client.register_plugin(plugin)
    assert client.client.plugin() is plugin
    assert client.call("is_server_live")
    doubled(client)
    client.client.unregister_plugin()


test_plugin = test_unregister_plugin = test_register_plugin
