"""The calls that NVIDIA's perf_analyzer makes in its modes, and those of its examples.

The program itself needs a newer system than many have, so the Python clients make its calls in its order:
it reads the server, the model and its config; reads the statistics; sends batches of random data or zeros,
sized by `-b` within the config's limit; and reads the statistics again.
"""

import json
import queue
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import shared_memory

from tests.e2e.server import Server
from tests.e2e.triton.clients import EVERYWHERE, TritonClient, refused
from tests.e2e.triton.test_shared_memory import region

BATCH = 4
REQUESTS = 10
COUNTS = ("success", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
ASYNC = pytest.mark.parametrize("kind", ["http", "grpc"])
STREAM = pytest.mark.parametrize("kind", ["grpc"])
CONFIGS = pytest.mark.parametrize(
    "config", [{"max_batch_size": 8}, {"max_batch_size": 8, "dynamic_batching": {}}], ids=["alone", "joined"]
)


class Profile:
    """What perf_analyzer reads before it sends anything, and the data that it sends."""

    def __init__(self, client: TritonClient, config: dict[str, Any], data: str) -> None:
        client.call("load_model", "net", config=json.dumps(config))
        assert {"statistics", "binary_tensor_data"} <= set(client.call("get_server_metadata")["extensions"])
        metadata = client.call("get_model_metadata", "net")
        answer = client.call("get_model_config", "net")
        told = answer["config"] if client.is_grpc else answer
        assert int(told["max_batch_size"]) >= BATCH
        assert ("dynamic_batching" in told) == ("dynamic_batching" in config)
        (tensor,) = metadata["inputs"]
        shape = [BATCH, *(int(dim) for dim in tensor["shape"][1:])]
        assert [str(dim) for dim in told["input"][0]["dims"]] == [str(dim) for dim in shape[1:]]
        random = np.random.default_rng(0)
        self.x = np.zeros(shape, np.float32) if data == "zero" else random.random(shape, np.float32)
        self.client = client
        self.inputs = [client.input("x", self.x)]

    def counts(self) -> dict[str, int]:
        (stats,) = self.client.call("get_inference_statistics", "net", "1")["model_stats"]
        found = {name: int(stats["inference_stats"].get(name, {}).get("count", 0)) for name in COUNTS}
        return found | {"executions": int(stats.get("execution_count", 0))}

    def check(self, result: Any) -> None:
        np.testing.assert_array_equal(result.as_numpy("y"), 2 * self.x)


@pytest.fixture(params=["random", "zero"])
def profile(
    client: TritonClient, config: dict[str, Any], request: pytest.FixtureRequest
) -> Iterator[Profile]:
    """A profile ready to send; afterwards the statistics must count exactly what was sent."""
    profile = Profile(client, config, request.param)
    before = profile.counts()
    yield profile
    after = profile.counts()
    gone = {name: after[name] - before[name] for name in after}
    assert gone["success"] == gone["queue"] == gone["compute_infer"] == REQUESTS
    assert 0 < gone["executions"] <= REQUESTS
    assert gone["cache_hit"] == gone["cache_miss"] == 0


@EVERYWHERE
@CONFIGS
def test_one_request_after_the_other(profile: Profile) -> None:
    for _ in range(REQUESTS):
        profile.check(profile.client.infer("net", profile.inputs, model_version="1"))


@ASYNC
@CONFIGS
def test_many_requests_at_once(profile: Profile) -> None:
    client, ended = profile.client, queue.Queue[Any]()
    if client.is_grpc:
        for _ in range(REQUESTS):
            client.call(
                "async_infer", "net", profile.inputs, lambda result, error: ended.put((result, error))
            )
        for _ in range(REQUESTS):
            result, error = ended.get()
            assert error is None
            profile.check(result)
        return
    for asked in [client.call("async_infer", "net", profile.inputs) for _ in range(REQUESTS)]:
        profile.check(asked.get_result())


@STREAM
@CONFIGS
def test_a_stream_of_requests(profile: Profile) -> None:
    client, ended = profile.client, queue.Queue[Any]()
    client.call("start_stream", lambda result, error: ended.put((result, error)))
    for number in range(REQUESTS):
        client.call("async_stream_infer", "net", profile.inputs, request_id=str(number))
    for number in range(REQUESTS):
        result, error = ended.get()
        assert error is None
        assert result.get_response().id == str(number)
        profile.check(result)
    client.call("stop_stream")


@EVERYWHERE
@CONFIGS
def test_requests_through_system_shared_memory(profile: Profile) -> None:
    client, size = profile.client, profile.x.nbytes
    client.call("unregister_system_shared_memory")
    client.call("unregister_cuda_shared_memory")
    with region("x", size) as (x, x_key), region("y", size) as (y, y_key):
        shared_memory.set_shared_memory_region(x, [profile.x])
        client.call("register_system_shared_memory", "x", x_key, size)
        client.call("register_system_shared_memory", "y", y_key, size)
        tensor = client.module.InferInput("x", list(profile.x.shape), "FP32")
        tensor.set_shared_memory("x", size)
        output = client.module.InferRequestedOutput("y")
        output.set_shared_memory("y", size)
        for _ in range(REQUESTS):
            client.infer("net", [tensor], outputs=[output])
        told = shared_memory.get_contents_as_numpy(y, np.float32, list(profile.x.shape))
        np.testing.assert_array_equal(told, 2 * profile.x)
        client.call("unregister_system_shared_memory")


@EVERYWHERE
def test_the_model_control_of_the_examples(client: TritonClient, server: Server) -> None:
    """Make the calls of simple_http_model_control and simple_grpc_model_control."""
    client.call("load_model", "net")
    assert client.call("is_model_ready", "net")
    wrong = '"parameters": {"config": {{"max_batch_size": "16"}}}'
    assert "failed to load" in refused(client, "load_model", "net", config=wrong).message()
    client.call("load_model", "net", config='{"max_batch_size":"16"}')
    answer = client.call("get_model_config", "net")
    assert int((answer["config"] if client.is_grpc else answer)["max_batch_size"]) == 16
    client.call("unload_model", "net")
    assert not client.call("is_model_ready", "net")
    assert "failed to load" in refused(client, "load_model", "wrong_model_name").message()
