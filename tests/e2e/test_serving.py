"""The main job: upload a plan, and get answers in every form."""

import io
import json
import re
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

import runtime_ext  # noqa: F401  torch.jit.load must know the operator
from tests.e2e.server import Server

X = torch.arange(8, dtype=torch.float32).reshape(2, 4)


def add(server: Server, plan: bytes, name: str = "double") -> dict[str, object]:
    answer = server.client.post("/engines", params={"name": name}, content=plan)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_server_does_not_import_torch(server: Server, plan: bytes) -> None:
    add(server, plan)
    mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "libtorch_cpu.so" in mapped
    assert "torch/_C." not in mapped  # the extension module that `import torch` loads


def test_an_uploaded_plan_is_served_and_then_removed(server: Server, plan: bytes) -> None:
    answer = server.client.post("/engines", params={"name": "double"}, content=plan)
    engine = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/engines/{engine['id']}"
    assert (engine["state"], engine["backend"], engine["version"]) == ("READY", "openvino", 1)
    assert engine["id"] == int(engine["digest"].removeprefix("sha256:")[:13], 16)
    assert [(t["name"], t["datatype"], t["shape"]) for t in engine["inputs"]] == [("x", "FP32", [-1, 4])]

    again = server.client.post("/engines", params={"name": "double"}, content=plan)
    assert (again.status_code, again.json()["id"]) == (200, engine["id"])

    assert server.client.delete("/engines/double").status_code == 204
    gone = server.client.get("/engines/double")
    assert (gone.status_code, gone.json()["code"]) == (404, "NotFound")


def test_json_is_answered_with_json(server: Server, plan: bytes) -> None:
    add(server, plan)
    body = {"id": "7", "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    answer = server.client.post("/engines/double/infer", json=body).raise_for_status().json()
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("double", "1", "7")
    assert answer["outputs"] == [{"name": "y", "shape": [1, 4], "datatype": "FP32", "data": [2, 4, 6, 8]}]


def test_binary_is_answered_with_binary(server: Server, plan: bytes) -> None:
    engine = add(server, plan)
    blob = X.numpy().tobytes()
    header = json.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "shape": [2, 4],
                    "datatype": "FP32",
                    "parameters": {"binary_data_size": len(blob)},
                }
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    answer = server.client.post(
        f"/engines/{engine['id']}/infer",
        content=header + blob,
        headers={"Inference-Header-Content-Length": str(len(header))},
    ).raise_for_status()
    length = int(answer.headers["inference-header-content-length"])
    (y,) = json.loads(answer.content[:length])["outputs"]
    assert y["parameters"] == {"binary_data_size": 32}
    values = np.frombuffer(answer.content[length:], np.float32).reshape(y["shape"])
    assert np.array_equal(values, 2 * X.numpy())


def test_safetensors_are_answered_with_safetensors(server: Server, plan: bytes) -> None:
    add(server, plan)
    answer = server.client.post(
        "/engines/double/infer", content=save({"x": X}), headers={"Content-Type": "application/x-safetensors"}
    ).raise_for_status()
    assert torch.equal(load(answer.content)["y"], 2 * X)


def test_the_graph_contains_the_engine_id(server: Server, plan: bytes) -> None:
    engine = add(server, plan, "LeNet")
    graph = server.client.get("/engines/LeNet/graph").raise_for_status().text
    assert f"prim::Constant[value={engine['id']}]" in graph
    assert "trt::execute_engine(%1, %x)" in graph
    assert "__torch__.LeNet_trt" in graph


def test_the_module_is_a_torchscript_file_that_calls_the_engine(server: Server, plan: bytes) -> None:
    engine = add(server, plan)
    answer = server.client.get("/engines/double/module", params={"plan": False}).raise_for_status()
    assert 'filename="double.pt"' in answer.headers["content-disposition"]
    code = torch.jit.load(io.BytesIO(answer.content)).code
    assert f"trt.execute_engine_list({engine['id']}, [x])" in code


def test_metrics_count_what_happened(server: Server, plan: bytes) -> None:
    engine = add(server, plan, "metered")
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    for _ in range(3):
        server.client.post("/engines/metered/infer", json=body).raise_for_status()
    body["inputs"][0]["shape"] = [4]
    assert server.client.post("/engines/metered/infer", json=body).status_code == 400
    metric = partial(server.metric, id=str(engine["id"]))
    assert metric("trtserve_requests_total", outcome="Success") == 3
    assert metric("trtserve_requests_total", outcome="InvalidInput") == 1
    assert metric("trtserve_request_total_seconds_count") == 3
    assert metric("trtserve_queue_depth") == 0


def test_the_documentation_page_loads_nothing_from_other_hosts(server: Server) -> None:
    page = server.client.get("/docs").raise_for_status().text
    assert "swagger" in page
    assert not re.findall(r"(?:src|href)=[\"'](?:https?:)?//", page)
    for asset in re.findall(r"(?:src|href)=[\"'](/[^\"']+)", page):
        server.client.get(asset).raise_for_status()


def test_a_running_server_is_live_and_ready_and_reports_its_versions(server: Server) -> None:
    assert server.client.get("/health/live").status_code == 200
    assert server.client.get("/health/ready").status_code == 200
    version = server.client.get("/version").json()
    assert version["torch"] == torch.__version__
    assert "openvino" in version["backends"]


def test_other_engines_answer_during_a_load(server: Server, plan: bytes, big_plan: bytes) -> None:
    """The load takes some hundred milliseconds; answers during that time show that the loop is free."""
    add(server, plan, "small")
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    done = threading.Event()
    status: list[int] = []

    def upload() -> None:
        try:
            status.append(
                server.client.post("/engines", params={"name": "big"}, content=big_plan).status_code
            )
        finally:
            done.set()

    thread = threading.Thread(target=upload)
    thread.start()
    during = 0
    while not done.is_set():
        states = {e["name"]: e["state"] for e in server.client.get("/engines").json()["engines"]}
        answer = server.client.post("/engines/small/infer", json=body)
        assert answer.status_code == 200
        during += "LOADING" in states.values()
    thread.join()
    assert status == [201]
    assert during > 0, "no answer came while the big plan was loading"


def test_the_server_starts_with_an_empty_variable_that_it_does_not_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEB_CONCURRENCY", "")
    with Server(tmp_path / "store") as server:
        assert server.client.get("/health/live").status_code == 200
