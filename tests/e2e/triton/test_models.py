"""Reading, loading and unloading models through the clients."""

import json

import pytest
from tritonclient.utils import InferenceServerException

from tests.e2e.server import Server
from tests.e2e.triton.clients import (
    EVERYWHERE,
    TritonClient,
    doubled,
    refused,
    upload,
)


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
def test_an_unknown_model_is_refused_in_the_words_that_clients_look_for(client: TritonClient) -> None:
    for method in ("get_model_metadata", "get_model_config", "get_inference_statistics"):
        for model in (("nobody",), ("net", "7")):
            assert refused(client, method, *model).message().startswith("Request for unknown model: ")
    assert "failed to load 'nobody'" in refused(client, "load_model", "nobody").message()
    assert "failed to load 'net'" in refused(client, "load_model", "net", config="{{}").message()


@EVERYWHERE
def test_get_model_config(client: TritonClient) -> None:
    answer = client.call("get_model_config", "net")
    config = answer["config"] if client.is_grpc else answer
    assert config["name"] == "net"
    assert config["input"][0]["name"] == "x"
    assert config["input"][0]["data_type"] == "TYPE_FP32"
    assert [int(dim) for dim in config["output"][0]["dims"]] == [-1, 4]


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
    assert client.call("is_model_ready", "net") is False
    index = client.call("get_model_repository_index")
    (model,) = index["models"] if client.is_grpc else index
    assert (model["state"], model["reason"]) == ("UNAVAILABLE", "unloaded")
    with pytest.raises(InferenceServerException, match="unloaded"):
        doubled(client)
    client.call("load_model", "net")
    doubled(client)
