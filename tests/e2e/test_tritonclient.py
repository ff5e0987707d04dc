"""Every method of tritonclient's four clients against a real server: it works, or says in a sentence why not.

The table in docs/protocol.md has a row for each method; `test_<method>` here holds it.
"""

import base64
import json
import queue
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tritonclient import http as triton_http
from tritonclient.utils import shared_memory

from tests.e2e.server import Server
from tests.e2e.triton_clients import KINDS, InferenceServerException, TritonClient, client_methods
from tests.seam.models import scaling

DOCUMENT = Path(__file__).parents[2] / "docs" / "protocol.md"
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
SHARED = "trtserve-test-"  # how the keys begin that the server allows
X = np.arange(8, dtype=np.float32).reshape(2, 4)
EVERYWHERE = pytest.mark.parametrize("kind", KINDS)
HTTP = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("http")])
GRPC = pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("grpc")])


@pytest.fixture(scope="module")
def triton_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("triton")
    with Server(folder / "store", "--shared-memory", f"{SHARED}*", grpc=True) as server:
        yield server


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> dict[int, bytes]:
    """Plans of y = n x for FP32 [?, 4], by n."""
    folder = tmp_path_factory.mktemp("plans")
    return {n: scaling(folder / f"{n}.onnx", n).read_bytes() for n in (2, 3)}


@pytest.fixture
def server(triton_server: Server, plans: dict[int, bytes]) -> Iterator[Server]:
    """A server with the model `net`, y = 2x; what a test leaves is removed."""
    upload(triton_server, plans[2])
    yield triton_server
    triton_server.client.post("/v2/systemsharedmemory/unregister").raise_for_status()
    for engine in triton_server.client.get("/engines").json()["engines"]:
        triton_server.client.delete(f"/engines/{engine['id']}").raise_for_status()


@pytest.fixture
def client(kind: str, server: Server) -> Iterator[TritonClient]:
    with TritonClient(kind, server) as client:
        yield client


def upload(server: Server, plan: bytes, name: str = "net", **options: str | int) -> None:
    server.client.post("/engines", params={"name": name, **options}, content=plan).raise_for_status()


def refused(client: TritonClient, method: str, *args: Any, **options: Any) -> InferenceServerException:
    with pytest.raises(InferenceServerException) as raised:
        client.call(method, *args, **options)
    assert raised.value.message().strip().endswith((".", "?")), "a sentence"
    return raised.value


def is_unsupported(error: InferenceServerException) -> bool:
    return error.status() in {"501", "StatusCode.UNIMPLEMENTED"}


def doubled(client: TritonClient, factor: int = 2, **options: Any) -> None:
    """The model answers with `factor` times its input."""
    result = client.infer("net", [client.input("x", X)], **options)
    np.testing.assert_array_equal(result.as_numpy("y"), factor * X)


# -- the table


def test_the_table_has_every_method_of_every_client() -> None:
    methods = set.union(*map(client_methods, KINDS))
    assert set(ROW.findall(DOCUMENT.read_text())) == methods


def test_every_row_of_the_table_is_held_by_a_test() -> None:
    missing = [method for method in ROW.findall(DOCUMENT.read_text()) if f"test_{method}" not in globals()]
    assert missing == []


# -- the server


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


# -- models


@EVERYWHERE
def test_is_model_ready(client: TritonClient) -> None:
    assert client.call("is_model_ready", "net") is True
    assert client.call("is_model_ready", "net", "1") is True
    for model in (("nobody",), ("net", "7")):
        assert client.call("is_model_ready", *model) is False


@EVERYWHERE
def test_get_model_metadata(client: TritonClient) -> None:
    for version in ("", "1"):
        metadata = client.call("get_model_metadata", "net", version)
        assert metadata["name"] == "net"
        assert metadata["versions"] == ["1"]
        assert [tensor["name"] for tensor in metadata["inputs"]] == ["x"]
        assert [int(dim) for dim in metadata["outputs"][0]["shape"]] == [-1, 4]
        assert metadata["outputs"][0]["datatype"] == "FP32"
    assert "There is no" in refused(client, "get_model_metadata", "nobody").message()


@EVERYWHERE
def test_get_model_config(client: TritonClient) -> None:
    answer = client.call("get_model_config", "net")
    config = answer["config"] if client.is_grpc else answer
    assert config["name"] == "net"
    assert config["input"][0]["name"] == "x"
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert [int(dim) for dim in config["output"][0]["dims"]] == [-1, 4]


@EVERYWHERE
def test_get_inference_statistics(client: TritonClient) -> None:
    for _ in range(3):
        doubled(client)
    for arguments in ((), ("net",), ("net", "1")):
        (stats,) = client.call("get_inference_statistics", *arguments)["model_stats"]
        assert (stats["name"], stats["version"]) == ("net", "1")
        assert int(stats["inference_stats"]["success"]["count"]) == 3
        assert int(stats["inference_stats"]["success"]["ns"]) > 0
        assert int(stats["execution_count"]) == 3
    assert "There is no" in refused(client, "get_inference_statistics", "nobody").message()


# -- the repository


@EVERYWHERE
def test_get_model_repository_index(client: TritonClient, server: Server, plans: dict[int, bytes]) -> None:
    upload(server, plans[3])
    index = client.call("get_model_repository_index")
    models = index["models"] if client.is_grpc else index
    assert [(model["name"], model["version"], model["state"]) for model in models] == [
        ("net", "1", "READY"),
        ("net", "2", "READY"),
    ]


@EVERYWHERE
def test_load_model(client: TritonClient, plans: dict[int, bytes]) -> None:
    config = json.dumps({"backend": "onnxruntime", "max_batch_size": 8, "dynamic_batching": {}})
    client.call("load_model", "net", config=config, files={"file:1/model.onnx": plans[3]})
    doubled(client, factor=3)
    doubled(client, factor=2, model_version="1")
    answer = client.call("get_model_config", "net")
    assert (answer["config"] if client.is_grpc else answer)["max_batch_size"] == 8
    error = refused(
        client, "load_model", "net", config="{}", files={"file:1/model.onnx": b"<html>no model</html>"}
    )
    assert "HTML" in error.message()
    doubled(client, factor=3)


@EVERYWHERE
def test_unload_model(client: TritonClient) -> None:
    client.call("unload_model", "net")
    if not client.is_grpc:
        assert client.call("is_model_ready", "net") is False
    index = client.call("get_model_repository_index")
    (model,) = index["models"] if client.is_grpc else index
    assert (model["state"], model["reason"]) == ("UNAVAILABLE", "unloaded")
    with pytest.raises(InferenceServerException, match="unloaded"):
        doubled(client)
    client.call("load_model", "net")
    doubled(client)


# -- inference


@EVERYWHERE
def test_infer(client: TritonClient, server: Server, plans: dict[int, bytes]) -> None:
    result = client.infer("net", [client.input("x", X)], request_id="mine")
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)
    response = result.get_response()
    if client.is_grpc:
        assert (response.id, response.model_name, response.model_version) == ("mine", "net", "1")
    else:
        assert (response["id"], response["model_name"], response["model_version"]) == ("mine", "net", "1")
    upload(server, plans[3])
    doubled(client, factor=3)
    doubled(client, model_version="1")
    doubled(
        client, factor=3, priority=1, timeout=60_000_000, outputs=[client.module.InferRequestedOutput("y")]
    )


@EVERYWHERE
def test_infer_says_what_is_wrong_with_a_request(client: TritonClient) -> None:
    wrong = {
        "There is no engine 'nobody'": ("nobody", client.input("x", X), {}),
        "'net' has no version '9'": ("net", client.input("x", X), {"model_version": "9"}),
        "'z'": ("net", client.input("z", X), {}),
        "INT32": ("net", client.input("x", X.astype(np.int32), "INT32"), {}),
        "[2, 3]": ("net", client.input("x", X[:, :3].copy()), {}),
        "'w'": ("net", client.input("x", X), {"outputs": [client.module.InferRequestedOutput("w")]}),
        "BYTES": ("net", client.input("x", np.array([b"a", b"bc"], np.object_), "BYTES"), {}),
    }
    for told, (model, tensor, options) in wrong.items():
        assert told in refused(client, "infer", model, [tensor], **options).message()
    doubled(client)


@HTTP
@pytest.mark.parametrize("way", ["binary", "json", "binary in, json out", "json in, binary out"])
def test_infer_with_tensors_in_either_form(client: TritonClient, way: str) -> None:
    tensor = client.input("x", X, binary_data=way.startswith("binary"))
    output = client.module.InferRequestedOutput("y", binary_data=way in {"binary", "json in, binary out"})
    result = client.infer("net", [tensor], outputs=[output])
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)


@HTTP
@pytest.mark.parametrize("asked", ["gzip", "deflate"])
def test_infer_with_compressed_bodies(client: TritonClient, asked: str) -> None:
    x = np.arange(4096, dtype=np.float32).reshape(1024, 4)
    result = client.infer(
        "net",
        [client.input("x", x)],
        request_compression_algorithm=asked,
        response_compression_algorithm=asked,
    )
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * x)


@GRPC
def test_infer_over_a_compressed_channel(client: TritonClient) -> None:
    doubled(client, compression_algorithm="gzip")


@EVERYWHERE
def test_infer_through_shared_memory(client: TritonClient) -> None:
    with region("in", X.nbytes) as inputs, region("out", X.nbytes) as outputs:
        shared_memory.set_shared_memory_region(inputs, [X])
        client.call("register_system_shared_memory", "in", f"{SHARED}in", X.nbytes)
        client.call("register_system_shared_memory", "out", f"{SHARED}out", X.nbytes)
        tensor = client.module.InferInput("x", list(X.shape), "FP32")
        tensor.set_shared_memory("in", X.nbytes)
        output = client.module.InferRequestedOutput("y")
        output.set_shared_memory("out", X.nbytes)
        result = client.infer("net", [tensor], outputs=[output])
        assert result.get_output("y") is not None
        np.testing.assert_array_equal(
            shared_memory.get_contents_as_numpy(outputs, np.float32, X.shape), 2 * X
        )
        client.call("unregister_system_shared_memory")


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_async_infer(client: TritonClient) -> None:
    if client.is_grpc:
        answers: queue.Queue[Any] = queue.Queue()
        for _ in range(4):
            client.client.async_infer(
                "net", [client.input("x", X)], lambda result, error: answers.put((result, error))
            )
        results = []
        for _ in range(4):
            result, error = answers.get(timeout=60)
            assert error is None
            results.append(result)
    else:
        asked = [client.client.async_infer("net", [client.input("x", X)]) for _ in range(4)]
        results = [request.get_result() for request in asked]
    for result in results:
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)


@pytest.mark.parametrize("kind", ["grpc"])
def test_async_stream_infer(client: TritonClient) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.client.start_stream(lambda result, error: answers.put((result, error)))
    for n in (1, 2, 3):
        client.client.async_stream_infer("net", [client.input("x", n * X)], request_id=str(n))
    client.client.async_stream_infer("nobody", [client.input("x", X)])
    client.client.async_stream_infer("net", [client.input("x", X)])
    for n in (1, 2, 3):
        result, error = answers.get(timeout=60)
        assert error is None
        assert result.get_response().id == str(n)
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * n * X)
    _, error = answers.get(timeout=60)
    assert "There is no engine 'nobody'" in error.message()
    result, error = answers.get(timeout=60)
    assert error is None, "a request that fails does not end the stream"
    client.client.stop_stream()


test_start_stream = test_stop_stream = test_async_stream_infer


@pytest.mark.parametrize("kind", ["grpc.aio"])
def test_stream_infer(client: TritonClient) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for n in (1, 2, 3):
            yield {"model_name": "net", "inputs": [client.input("x", n * X)], "request_id": str(n)}

    async def answers() -> list[tuple[Any, Any]]:
        return [answer async for answer in client.client.stream_infer(requests())]

    for n, (result, error) in enumerate(client.run(answers()), start=1):
        assert error is None
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * n * X)


@HTTP
def test_generate_request_body(client: TritonClient, server: Server) -> None:
    body, length = client.client.generate_request_body([client.input("x", X)])
    answer = server.client.post(
        "/v2/models/net/infer", content=body, headers={"Inference-Header-Content-Length": str(length)}
    )
    assert answer.status_code == 200
    result = client.client.parse_response_body(
        answer.content, header_length=int(answer.headers.get("Inference-Header-Content-Length", 0)) or None
    )
    np.testing.assert_array_equal(result.as_numpy("y"), 2 * X)


test_parse_response_body = test_generate_request_body


# -- shared memory


@contextmanager
def region(name: str, size: int) -> Iterator[Any]:
    handle = shared_memory.create_shared_memory_region(name, f"{SHARED}{name}", size)
    try:
        yield handle
    finally:
        shared_memory.destroy_shared_memory_region(handle)


def regions(client: TritonClient, *name: str) -> dict[str, Any]:
    """The registered regions by name, as either protocol tells them."""
    status = client.call("get_system_shared_memory_status", *name)
    if client.is_grpc:
        return status.get("regions", {})
    return {found["name"]: found for found in status}


@EVERYWHERE
def test_register_system_shared_memory(client: TritonClient) -> None:
    assert regions(client) == {}
    with region("a", 64):
        client.call("register_system_shared_memory", "mine", f"{SHARED}a", 32, 16)
        found = regions(client)["mine"]
        assert found["key"].lstrip("/") == f"{SHARED}a"
        assert (int(found["offset"]), int(found["byte_size"])) == (16, 32)
        assert regions(client, "mine").keys() == {"mine"}
        assert refused(client, "register_system_shared_memory", "large", f"{SHARED}a", 65)
        assert refused(client, "register_system_shared_memory", "other", "somebody-elses", 8)
        client.call("unregister_system_shared_memory", "mine")
    assert regions(client) == {}


test_get_system_shared_memory_status = test_register_system_shared_memory
test_unregister_system_shared_memory = test_register_system_shared_memory


@EVERYWHERE
def test_register_cuda_shared_memory(client: TritonClient) -> None:
    handle = base64.b64encode(bytes(64))
    assert is_unsupported(refused(client, "register_cuda_shared_memory", "mine", handle, 0, 64))


@EVERYWHERE
def test_get_cuda_shared_memory_status(client: TritonClient) -> None:
    assert client.call("get_cuda_shared_memory_status") in ([], {})


@EVERYWHERE
def test_unregister_cuda_shared_memory(client: TritonClient) -> None:
    client.call("unregister_cuda_shared_memory")


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
