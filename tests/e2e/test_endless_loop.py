"""A model whose client sets the number of loop iterations, so that an execution may never end."""

import threading
from pathlib import Path

import httpx

from tests.e2e.looping import FOREVER, looping_plan
from tests.e2e.server import Server
from tests.waiting import wait_until

PLAN = looping_plan([1])


def infer(server: Server, times: int, timeout_ms: int | None = None) -> httpx.Response:
    inputs = [
        {"name": "times", "shape": [], "datatype": "INT64", "data": [times]},
        {"name": "x", "shape": [1], "datatype": "FP32", "data": [0]},
    ]
    headers = {} if timeout_ms is None else {"Inference-Timeout-Ms": str(timeout_ms)}
    with httpx.Client(base_url=server.client.base_url, timeout=120) as client:
        return client.post("/engines/loop/infer", json={"inputs": inputs}, headers=headers)


def test_an_endless_execution_delays_neither_its_client_nor_a_removal_nor_the_stop(
    tmp_path: Path,
) -> None:
    options = ("--drain-s", "1", "--stuck-after-s", "0.5", "--instances", "2")
    with Server(tmp_path / "store", *options) as server:
        server.client.post("/engines?name=loop", content=PLAN).raise_for_status()
        assert infer(server, 3).json()["outputs"][0]["data"] == [3]

        late = infer(server, FOREVER, timeout_ms=300)
        assert (late.status_code, late.json()["code"]) == (504, "DeadlineExceeded")

        assert server.client.delete("/engines/loop").status_code == 204
        assert server.client.get("/engines/loop").status_code == 404
        again = server.client.post("/engines?name=loop", content=PLAN)
        assert again.status_code == 201, again.text
        assert infer(server, 4).json()["outputs"][0]["data"] == [4]

        waiting = threading.Thread(target=infer, args=(server, FOREVER))
        waiting.start()
        wait_until(
            lambda: server.metric("trtserve_executions_stuck", engine="loop") == 1, "a stuck execution"
        )
        assert server.client.get("/engines/loop").json()["executions_stuck"] == 1
        ready = server.client.get("/health/ready")
        assert ready.status_code == 200
        assert "1 of 2 instances of engine" in ready.json()["stuck"][0]
        assert server.stop() == 0
        waiting.join()
    assert "are stuck in an execution" in server.log
