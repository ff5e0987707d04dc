"""Engines that are batched because a check found it safe, in a whole server."""

from pathlib import Path

import pytest
from onnx import TensorProto, helper

from tests.e2e.looping import FOREVER, looping_plan
from tests.e2e.server import Server
from tests.seam.models import scaling, write_onnx

F = TensorProto.FLOAT


@pytest.fixture
def mixing(tmp_path: Path) -> bytes:
    """A model whose rows depend on each other."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["z"], axis=0),
        helper.make_node("Add", ["z", "x"], ["y"]),
    ]
    path = write_onnx(tmp_path / "mixing.onnx", nodes, {"x": (F, ["b", 8])}, {"y": (F, ["b", 8])}, [])
    return path.read_bytes()


def test_an_engine_is_batched_if_that_is_safe_and_a_restart_remembers(tmp_path: Path, mixing: bytes) -> None:
    safe = scaling(tmp_path / "safe.onnx", 3).read_bytes()
    with Server(tmp_path / "store") as server:
        for name, plan in (("safe", safe), ("mixing", mixing)):
            server.client.post("/engines", params={"name": name}, content=plan).raise_for_status()
        server.stop()
        trials = server.log.count("in a process of its own")
        server.start()
        server.wait_until_ready()
        engines = {each["name"]: each for each in server.client.get("/engines").json()["engines"]}
        assert (engines["safe"]["max_batch_size"], engines["safe"]["why_not_joined"]) == (64, None)
        assert engines["mixing"]["max_batch_size"] == 1
        assert "depends on those that it is joined with" in engines["mixing"]["why_not_joined"]
        configs = {name: server.client.get(f"/v2/models/{name}/config").json() for name in engines}
        assert [configs[name]["max_batch_size"] for name in ("safe", "mixing")] == [64, 0]
        assert "depends on those that it is joined with" in server.log
        assert server.log.count("in a process of its own") == trials == 2


def test_an_engine_whose_execution_does_not_end_is_loaded_without_batches(
    tmp_path: Path,
) -> None:
    endless = looping_plan(["b", 8], FOREVER)
    with Server(tmp_path / "store") as server:
        answer = server.client.post("/engines", params={"name": "net"}, content=endless, timeout=60)
        assert answer.status_code == 201, answer.text
        engine = answer.json()
        assert (engine["state"], engine["max_batch_size"]) == ("READY", 1)
        assert engine["why_not_joined"] == "An execution did not end within the time of the check."
