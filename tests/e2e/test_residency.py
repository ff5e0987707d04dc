"""More engines than fit into the budget, in a whole server: over HTTP and both servers of gRPC."""

import re
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.grpc_calls import LONG, only_output, raw, refusal, stub
from tests.e2e.server import Server
from tests.waiting import wait_until

SIDE = 512
MODELS = 12
FIT = 4
X = np.linspace(-1, 1, SIDE, dtype=np.float32).reshape(1, SIDE)
COUNTERS = r"^(trtserve_\w+(?:_total|_bucket|_count)(?:\{.*\})?) (\S+)$"
OPTIONS = {"max_batch_size": "1", "instances": "1"}


def weights(number: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(number).standard_normal((SIDE, SIDE)).astype(np.float32)


def model(number: int) -> bytes:
    """y = x @ weights(number)."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", SIDE])],
        [numpy_helper.from_array(weights(number), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return bytes(made.SerializeToString())


def upload(server: Server, name: str, plan: bytes, **options: str) -> dict[str, Any]:
    answer = server.client.post("/engines", params={"name": name} | OPTIONS | options, content=plan)
    assert answer.status_code == 201, answer.text
    return answer.json()


def residency(server: Server, name: str) -> float:
    page = server.client.get("/metrics").text
    found = re.search(rf"^trtserve_residency_{name} (\S+)$", page, re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def counters(server: Server) -> dict[str, float]:
    """Every sample that must never go back."""
    samples = re.findall(COUNTERS, server.client.get("/metrics").text, re.M)
    return {name: float(value) for name, value in samples}


def infer(server: Server, name: str, **headers: str) -> httpx.Response:
    inputs = [{"name": "x", "shape": X.shape, "datatype": "FP32", "data": X.ravel().tolist()}]
    url = f"/v2/models/{name}/infer"
    return server.client.post(url, json={"inputs": inputs}, headers=headers, timeout=120)


def is_right(answer: httpx.Response, number: int) -> bool:
    assert answer.status_code == 200, answer.text
    found = np.array(answer.json()["outputs"][0]["data"], np.float32).reshape(1, SIDE)
    return bool(np.allclose(found, X @ weights(number), atol=1e-3))


@pytest.fixture
def rotating(tmp_path: Path, each_grpc_server: None) -> Iterator[Server]:
    """A server with `MODELS` engines and a budget that holds `FIT` of them."""
    server = Server(tmp_path / "store", "--trial-load", "off", grpc=True)
    with server:
        upload(server, "net", model(MODELS))  # the first load also opens the library
        taken = sum(upload(server, "net0", model(0))["memory"]["cpu"].values())
        assert SIDE * SIDE * 4 <= taken < 8 * SIDE * SIDE * 4
        server.client.delete("/engines/net").raise_for_status()
        server.stop()
        server.variables["TRTSERVE_MEMORY_BUDGET"] = f"cpu={int((FIT + 0.5) * taken)}"
        server.start()
        server.wait_until_ready()
        for number in range(1, MODELS):
            upload(server, f"net{number}", model(number))
        yield server


@pytest.fixture
def full(tmp_path: Path, each_grpc_server: None, big_plan: bytes) -> Iterator[Server]:
    """A server whose budget is held by the engine `slow`, and whose engine `net` is not resident."""
    with Server(tmp_path / "store", "--trial-load", "off", grpc=True) as server:
        upload(server, "net", model(1), residency="lazy")
        taken = sum(upload(server, "slow", big_plan)["memory"]["cpu"].values())
        server.stop()
        server.variables["TRTSERVE_MEMORY_BUDGET"] = f"cpu={taken + 3 * 1024**2}"
        server.start()
        server.wait_until_ready()
        assert states(server) == {"net": "DORMANT", "slow": "READY"}
        yield server


def states(server: Server) -> dict[str, str]:
    return {engine["name"]: engine["state"] for engine in server.client.get("/engines").json()["engines"]}


def test_every_engine_of_a_rotation_answers_within_the_budget(rotating: Server) -> None:
    most = rotating.metric("trtserve_memory_budget_bytes", device="cpu")
    before = counters(rotating)
    with stub(rotating) as service:
        for number in [*range(MODELS), *reversed(range(MODELS)), 0, 5, 0, 11]:
            name = f"net{number}"
            assert is_right(infer(rotating, name), number)
            answer = only_output(service.ModelInfer(raw(name, X)))
            assert np.allclose(answer, X @ weights(number), atol=1e-3)
            assert rotating.metric("trtserve_memory_resident_bytes", device="cpu") <= most
            after = counters(rotating)
            assert {name for name, value in before.items() if after.get(name, -1.0) < value} == set()
            before = after
    assert residency(rotating, "evictions_total") > MODELS
    assert residency(rotating, "loads_total") > MODELS
    assert set(states(rotating).values()) == {"READY", "DORMANT"}
    stats = rotating.client.get("/v2/models/net3/stats").json()["model_stats"]
    assert stats[0]["inference_stats"]["success"]["count"] == 4
    assert rotating.client.get("/health/ready").status_code == 200


def test_requests_for_a_cold_engine_share_one_load(rotating: Server) -> None:
    (cold, *_) = [name for name, state in states(rotating).items() if state == "DORMANT"]
    number = int(cold.removeprefix("net"))
    loads = residency(rotating, "loads_total")
    with stub(rotating) as service, ThreadPoolExecutor(10) as threads:
        over_grpc = [service.ModelInfer.future(raw(cold, X)) for _ in range(10)]
        over_http = [threads.submit(infer, rotating, cold) for _ in range(10)]
        assert all(is_right(answer.result(), number) for answer in over_http)
        for answer in over_grpc:
            assert np.allclose(only_output(answer.result()), X @ weights(number), atol=1e-3)
    assert residency(rotating, "loads_total") == loads + 1
    assert rotating.client.get(f"/engines/{cold}").json()["cold_start_seconds"] > 0


def test_a_stream_waits_for_its_engines_and_answers_in_order(rotating: Server) -> None:
    numbers = [0, 7, 0, 3, 11, 5]
    with stub(rotating) as service:
        answers = service.ModelStreamInfer(raw(f"net{number}", X) for number in numbers)
        for number, answer in zip(numbers, answers, strict=True):
            assert answer.error_message == ""
            found = only_output(answer.infer_response)
            assert np.allclose(found, X @ weights(number), atol=1e-3)


def test_the_wait_for_memory_ends_at_the_deadline(full: Server) -> None:
    with stub(full, max_receive_message_length=-1) as service:
        service.ModelInfer(raw("slow", np.ones((1, 512), np.float32)))
        executing = service.ModelInfer.future(LONG)
        full.wait_until_busy("slow")
        answer = infer(full, "net", **{"Inference-Timeout-Ms": "30"})
        assert answer.status_code == 504, answer.text
        assert "deadline passed while engine" in answer.json()["error"]
        error = refusal(service.ModelInfer, raw("net", X), timeout=0.05)
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert not executing.done()
        assert is_right(infer(full, "net"), 1)  # once the other has ended
        executing.result()
    assert states(full) == {"net": "READY", "slow": "DORMANT"}


def test_a_client_that_leaves_waits_no_longer(full: Server) -> None:
    body = raw_request()
    with stub(full, max_receive_message_length=-1) as service:
        executing = service.ModelInfer.future(LONG)
        full.wait_until_busy("slow")
        waiting = service.ModelInfer.future(raw("net", X))
        with socket.create_connection((full.client.base_url.host, full.client.base_url.port)) as connection:
            connection.sendall(body)
            wait_until(lambda: residency(full, "waiting") == 2, "two requests that wait")
        waiting.cancel()
        wait_until(lambda: residency(full, "waiting") == 0, "the end of the wait")
        executing.result()
    assert residency(full, "loads_total") == 0
    assert states(full) == {"net": "DORMANT", "slow": "READY"}


def test_a_pinned_engine_stays_and_an_upload_that_does_not_fit_is_refused(rotating: Server) -> None:
    most = int(rotating.metric("trtserve_memory_budget_bytes", device="cpu"))
    for number in range(FIT):
        assert is_right(infer(rotating, f"net{number}"), number)
        config = {"parameters": {"config": '{"parameters": {"residency": {"string_value": "pinned"}}}'}}
        url = f"/v2/repository/models/net{number}/load"
        rotating.client.post(url, json=config, timeout=60).raise_for_status()
    answer = rotating.client.post("/engines?name=more", params=OPTIONS, content=model(99))
    assert answer.status_code == 503, answer.text
    assert "on cpu, whose budget of " in answer.json()["error"]
    assert "retry-after" in answer.headers
    assert rotating.metric("trtserve_memory_resident_bytes", device="cpu") <= most
    assert all(states(rotating)[f"net{number}"] == "READY" for number in range(FIT))


def raw_request() -> bytes:
    data = X.tobytes()
    document = (
        f'{{"inputs":[{{"name":"x","shape":[1,{SIDE}],"datatype":"FP32",'
        f'"parameters":{{"binary_data_size":{len(data)}}}}}]}}'
    ).encode()
    head = (
        "POST /v2/models/net/infer HTTP/1.1\r\nHost: localhost\r\n"
        f"Inference-Header-Content-Length: {len(document)}\r\n"
        f"Content-Length: {len(document) + len(data)}\r\n\r\n"
    )
    return head.encode() + document + data
