"""Modules that call engines, in a whole server: over HTTP and both servers of gRPC."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.grpc_calls import raw, stub
from tests.e2e.server import Server

SIDE = 8
W = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(7))
X = torch.linspace(-1, 1, 2 * SIDE).reshape(2, SIDE)


class Pipeline(torch.nn.Module):
    """Normalises, calls the engine `net`, and returns probabilities and the two best classes."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((SIDE,), 0.25))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.ops.trt.execute_engine_list(torch.ops.trt.engine("net"), [(x - self.mean) * 2])[0]
        p = torch.softmax(y, 1)
        return p, torch.topk(p, 2).indices


def expected(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    p = torch.softmax(((x - 0.25) * 2) @ W, 1)
    return p, torch.topk(p, 2).indices


def network() -> bytes:
    """y = x w."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", SIDE])],
        [numpy_helper.from_array(W.numpy(), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def tensors(**dims: tuple[str, list[int]]) -> list[dict[str, object]]:
    return [{"name": n, "datatype": datatype, "shape": shape} for n, (datatype, shape) in dims.items()]


DOCUMENT = json.dumps(
    {
        "inputs": tensors(x=("FP32", [-1, SIDE])),
        "outputs": tensors(p=("FP32", [-1, SIDE]), best=("INT64", [-1, 2])),
    }
)


def archive(module: torch.nn.Module, document: str | None = DOCUMENT) -> bytes:
    file = io.BytesIO()
    extra = {} if document is None else {"trtserve.json": document}
    torch.jit.save(torch.jit.script(module), file, _extra_files=extra)
    return file.getvalue()


def add(server: Server, path: str, content: bytes, **query: object) -> dict[str, Any]:
    answer = server.client.post(path, params=query, content=content)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{path}/{answer.json()['id']}"
    described: dict[str, Any] = answer.json()
    return described


def is_right(server: Server, path: str) -> None:
    inputs = [{"name": "x", "shape": list(X.shape), "datatype": "FP32", "data": X.ravel().tolist()}]
    answer = server.client.post(path, json={"inputs": inputs})
    assert answer.status_code == 200, answer.text
    p, best = answer.json()["outputs"]
    assert torch.allclose(torch.tensor(p["data"]).reshape(X.shape), expected(X)[0], atol=1e-5)
    assert torch.tensor(best["data"]).reshape(2, 2).tolist() == expected(X)[1].tolist()


@pytest.fixture
def served(tmp_path: Path, each_grpc_server: None) -> Iterator[Server]:
    """A server with the engine `net` and the module `pipeline`, which calls it."""
    with Server(tmp_path / "store", grpc=True) as server:
        add(server, "/engines", network(), name="net")
        add(server, "/modules", archive(Pipeline()), name="pipeline", max_batch_size=16)
        yield server


def test_a_module_answers_as_pytorch_does_at_every_door(served: Server) -> None:
    id = served.client.get("/modules/pipeline").json()["id"]
    for path in (f"/modules/{id}", "/modules/pipeline", "/engines/pipeline", "/v2/models/pipeline"):
        for _ in range(3):  # the short way keeps what requests share
            is_right(served, f"{path}/infer")
    with stub(served) as service:
        for _ in range(3):
            answer = service.ModelInfer(raw("pipeline", X.numpy()))
            p = np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(X.shape)
            assert np.allclose(p, expected(X)[0].numpy(), atol=1e-5)
    assert served.metric("trtserve_requests_total", engine="pipeline", outcome="Success") == 15


def test_what_a_module_calls_counts_as_executions_of_its_engine(served: Server) -> None:
    for _ in range(3):
        is_right(served, "/modules/pipeline/infer")
    of_net, of_pipeline = (
        served.client.get(f"/v2/models/{name}/stats").json()["model_stats"][0] for name in ("net", "pipeline")
    )
    assert (of_net["execution_count"], of_net["inference_count"]) == (3, 6)
    assert [batch["batch_size"] for batch in of_net["batch_stats"]] == [2]
    assert of_net["batch_stats"][0]["compute_infer"]["count"] == 3
    assert of_net["inference_stats"]["success"]["count"] == 0
    assert of_pipeline["inference_stats"]["success"]["count"] == 3
    assert served.metric("trtserve_call_seconds_count", engine="net") == 3
    assert served.metric("trtserve_call_seconds_count", engine="pipeline") == 0


def calls_net(x: torch.Tensor) -> torch.Tensor:
    return torch.ops.trt.execute_engine_list(torch.ops.trt.engine("net"), [x])[0]


class Forks(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        whole = torch.jit.fork(calls_net, x)
        part = torch.jit.fork(calls_net, x[:, :3])
        return torch.jit.wait(whole) + torch.jit.wait(part)


def test_the_error_of_an_engine_in_a_fork_reaches_the_client_as_it_is(tmp_path: Path) -> None:
    document = {"inputs": tensors(x=("FP32", [-1, SIDE])), "outputs": tensors(y=("FP32", [-1, SIDE]))}
    inputs = [{"name": "x", "shape": list(X.shape), "datatype": "FP32", "data": X.ravel().tolist()}]
    with Server(tmp_path / "store") as server:
        add(server, "/engines", network(), name="net")
        add(server, "/modules", archive(Forks(), json.dumps(document)), name="forks")
        answer = server.client.post("/modules/forks/infer", json={"inputs": inputs})
    told = {"error": "Input 'x' has shape [2, 3]; the engine takes [?, 8].", "code": "InvalidInput"}
    assert (answer.status_code, answer.json()) == (400, told)


def test_a_module_is_described_like_an_engine(served: Server) -> None:
    module = served.client.get("/modules/pipeline").json()
    engine = served.client.get("/engines/net").json()
    assert (module["uses"], engine["used_by"]) == ([engine["id"]], [module["id"]])
    assert (module["format"], module["backend"], module["max_batch_size"]) == ("torchscript",) * 2 + (16,)
    assert [m["id"] for m in served.client.get("/modules").json()["modules"]] == [module["id"]]
    assert served.client.get("/engines").json()["engines"] == [engine, module]
    metadata = served.client.get("/v2/models/pipeline").json()
    assert metadata["platform"] == "pytorch_libtorch"
    assert [t["name"] for t in metadata["outputs"]] == ["p", "best"]
    assert served.client.get("/modules/net").status_code == 404


def test_a_module_serves_again_after_a_restart(served: Server) -> None:
    served.stop()
    served.start()
    served.wait_until_ready()
    is_right(served, "/v2/models/pipeline/infer")


def test_what_a_module_calls_cannot_be_taken_away(served: Server) -> None:
    for answer in (
        served.client.delete("/engines/net"),
        served.client.post("/v2/repository/models/net/unload", json={}),
    ):
        assert answer.status_code == 409
        assert "pipeline" in answer.json()["error"]
    is_right(served, "/modules/pipeline/infer")
    dependents = {"parameters": {"unload_dependents": True}}
    served.client.post("/v2/repository/models/net/unload", json=dependents).raise_for_status()
    assert served.client.get("/modules/pipeline").json()["state"] == "UNLOADED"
    served.client.post("/v2/repository/models/net/load", json={}).raise_for_status()
    served.client.post("/v2/repository/models/pipeline/load", json={}).raise_for_status()
    is_right(served, "/modules/pipeline/infer")
    served.client.delete("/engines/net", params={"force": True}).raise_for_status()
    assert served.client.get("/engines/net").status_code == 404
    answer = served.client.post("/v2/repository/models/pipeline/load", json={})
    assert (answer.status_code, "does not have any more" in answer.text) == (409, True)


class Reads(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.from_file("/etc/passwd", False, 4) + x


class Counts(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.n = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.n += 1
        return x + self.n


class Doubles(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + x


class CallsNobody(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.trt.execute_engine_list(torch.ops.trt.engine("nobody"), [x])[0]


SIMPLE = json.dumps({"inputs": tensors(x=("FP32", [-1, 4])), "outputs": tensors(y=("FP32", [-1, 4]))})


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (archive(Reads(), SIMPLE), 400, "aten::from_file"),
        (archive(Counts(), SIMPLE), 400, "must not keep state"),
        (archive(Doubles(), None), 400, '"inputs"'),
        (archive(CallsNobody(), SIMPLE), 409, "'nobody', which this server does not have"),
        (archive(Doubles(), SIMPLE)[:-30], 400, "cannot be used"),
        (archive(Doubles(), SIMPLE) + b"x", 400, "bytes behind its end"),
        (network(), 400, "ONNX"),
    ],
    ids=["reads files", "keeps state", "undescribed", "calls nobody", "cut off", "too long", "no module"],
)
@pytest.mark.parametrize("trials", ["on", "off"])
def test_a_module_that_cannot_be_served_is_refused_with_the_reason(
    tmp_path: Path, trials: str, content: bytes, status: int, reason: str
) -> None:
    with Server(tmp_path / "store", "--trial-load", trials) as server:
        answer = server.client.post("/modules", params={"name": "m"}, content=content)
        assert (answer.status_code, reason in answer.json()["error"]) == (status, True), answer.text
        assert server.client.get("/engines").json()["engines"] == []


def test_the_tensors_of_a_module_may_come_with_the_upload(server: Server) -> None:
    add(server, "/modules", archive(Doubles(), None), name="double", tensors=SIMPLE)
    inputs = [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]
    answer = server.client.post("/modules/double/infer", json={"inputs": inputs})
    assert answer.json()["outputs"][0]["data"] == [2, 4, 6, 8]
    wrong = server.client.post("/modules", params={"tensors": "{}"}, content=archive(Doubles(), None))
    assert wrong.status_code == 400
    assert "inputs: Field required" in wrong.json()["error"]
