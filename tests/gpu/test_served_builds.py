"""Plans that a server builds from ONNX models on the GPU: every answer is compared with PyTorch's."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
import torch

from tests.gpu.models import Model, named
from tests.gpu.models.model import node, onnx_model, random, value_info
from tests.gpu.real import RealTensorRt, for_each
from tests.gpu.served import ask, serving
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.e2e.server import Server

pytestmark = pytest.mark.gpu
OTHER_TARGET = "TensorRT 8.5.2, Other GPU"


@pytest.fixture
def server(tmp_path: Path) -> Iterator["Server"]:
    with serving(tmp_path) as running:
        yield running


def build(server: "Server", real: RealTensorRt, model: Model, *, at_once: bool = False) -> str:
    """Upload a model to be built on the GPU; return the engine's path on the server."""
    query: dict[str, Any] = {
        "backend": "tensorrt",
        "name": model.name,
        "precision": model.precision,
        "max_batch_size": 16,
    }
    headers = {"Prefer": "respond-async"} if at_once else {}
    content = model.onnx.SerializeToString()
    answer = server.client.post("/engines", params=query, content=content, headers=headers)
    assert answer.status_code == (202 if at_once else 201), answer.text
    location: str = answer.headers["location"]
    return location


def engine(server: "Server", location: str) -> dict[str, Any]:
    answer = server.client.get(location)
    answer.raise_for_status()
    description: dict[str, Any] = answer.json()
    return description


def is_right(server: "Server", location: str, model: Model) -> None:
    for case in model.cases:
        model.agrees(ask(server, engine(server, location), case), case)


def long_to_build() -> onnx.ModelProto:
    """A chain of 24 convolutions of different sizes, each of which the builder times by itself."""
    sizes = [3, *(32 + 8 * i for i in range(24))]
    weights = {
        f"w{i}": random(into, of, 3, 3, seed=i).numpy() * 0.01 for i, (of, into) in enumerate(pairwise(sizes))
    }
    chain = ["x", *(f"t{i}" for i in range(len(weights) - 1)), "y"]
    nodes = [
        node("Conv", [of, f"w{i}"], [into], pads=[1, 1, 1, 1]) for i, (of, into) in enumerate(pairwise(chain))
    ]
    x = value_info("x", torch.float32, ["n", 3, 32, 32])
    y = value_info("y", torch.float32, ["n", sizes[-1], 32, 32])
    return onnx_model("long_to_build", nodes, [x], [y], weights)


@for_each(tuple(named(name) for name in ("mlp_f16", "cnn_f16")))
def test_a_model_is_built_and_answers_as_pytorch_does(
    server: "Server", real: RealTensorRt, model: Model
) -> None:
    location = build(server, real, model)
    assert engine(server, location)["build"]["target"].startswith("TensorRT ")
    is_right(server, location, model)


def test_a_delete_ends_a_build_and_the_next_one_runs(server: "Server", real: RealTensorRt) -> None:
    location = build(server, real, replace(named("mlp_f32"), onnx=long_to_build(), name="long"), at_once=True)
    wait_until(lambda: engine(server, location)["state"] == "BUILDING", "a build")
    assert server.client.delete(location).status_code == 204
    model = named("mlp_f32")
    is_right(server, build(server, real, model), model)
    assert len(server.client.get("/engines").json()["engines"]) == 1


def test_an_engine_that_was_built_for_another_gpu_is_built_again(
    server: "Server", real: RealTensorRt
) -> None:
    store = importlib.import_module("trtserve.store.store")
    model = named("mlp_f32")
    location = build(server, real, model)
    assert server.stop() == 0
    opened = store.Store(server.store)
    (stored,) = opened.engines()
    opened.record_build(replace(stored, build=stored.build.with_(target=OTHER_TARGET)))
    opened.close()
    server.start()
    server.wait_until_ready()
    described = engine(server, location)["build"]
    assert described["target"] != OTHER_TARGET
    assert f"It was built for {OTHER_TARGET}" in described["reason"]
    is_right(server, location, model)
