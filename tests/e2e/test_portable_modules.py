"""An engine taken home: GET /engines/{ref}/module, loaded in a process without the server."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import runtime_ext  # noqa: F401  torch.jit.load must know the operator
from tests.e2e.server import Server, environment
from tests.e2e.test_modules import DOCUMENT, archive
from tests.seam.models import write_onnx

SIDE = 1024  # 4 MiB of weights: many pieces
LOAD_AND_RUN = """
import json, sys
import torch, runtime_ext
module = torch.jit.load(sys.argv[1])
x = torch.tensor(json.loads(sys.argv[2]))
print(json.dumps([module.runtime_ext_engine.id(), module(x).tolist()]))
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model of y = relu(x w)."""
    weights = np.random.default_rng(0).standard_normal((SIDE, SIDE)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    spec = (TensorProto.FLOAT, ["batch", SIDE])
    path = tmp_path_factory.mktemp("portable") / "model.onnx"
    return write_onnx(
        path, nodes, {"x": spec}, {"y": spec}, [numpy_helper.from_array(weights, "w")]
    ).read_bytes()


def test_a_fresh_process_stands_the_engine_up_and_gives_the_results_of_the_server(
    server: Server, plan: bytes, tmp_path: Path
) -> None:
    engine = server.client.post("/engines", params={"name": "net"}, content=plan).json()
    x = torch.rand(2, SIDE)
    inputs = [{"name": "x", "shape": [2, SIDE], "datatype": "FP32", "data": x.flatten().tolist()}]
    answer = server.client.post("/engines/net/infer", json={"inputs": inputs}).raise_for_status().json()

    file = tmp_path / "net.pt"
    with server.client.stream("GET", "/engines/net/module") as given, file.open("wb") as module:
        assert 'filename="net.pt"' in given.headers["content-disposition"]
        for piece in given.iter_bytes():
            module.write(piece)
    server.client.delete("/engines/net").raise_for_status()

    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-c", LOAD_AND_RUN]
    ended = subprocess.run(
        [*command, str(file), json.dumps(x.tolist())],
        env=environment() | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    id, y = json.loads(ended.stdout)
    assert id == engine["id"]
    assert torch.allclose(torch.tensor(y).flatten(), torch.tensor(answer["outputs"][0]["data"]), atol=1e-4)


def test_a_client_that_leaves_in_the_middle_costs_nobody_else_anything(server: Server, plan: bytes) -> None:
    server.client.post("/engines", params={"name": "net"}, content=plan).raise_for_status()
    for _ in range(20):  # more than are sent at once
        with server.client.stream("GET", "/engines/net/module") as given:
            assert next(given.iter_raw())
    whole = server.client.get("/engines/net/module").raise_for_status().content
    assert whole.count(plan) == 1
    assert server.client.delete("/engines/net").status_code == 204


def test_a_module_has_no_plan_to_carry_but_can_be_called_by_its_id(server: Server) -> None:
    class Nothing(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, torch.topk(x, 2).indices

    module = server.client.post("/modules", params={"name": "m"}, content=archive(Nothing(), DOCUMENT)).json()
    refused = server.client.get("/engines/m/module")
    assert (refused.status_code, refused.json()["code"]) == (501, "Unsupported")
    assert "is a module: it has no plan that another module could carry" in refused.json()["error"]
    calling = server.client.get("/engines/m/module", params={"plan": False}).raise_for_status()
    assert f"execute_engine_list({module['id']}, [x])" in torch.jit.load(io.BytesIO(calling.content)).code
