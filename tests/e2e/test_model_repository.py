"""A server on a folder in the layout of Triton's model repositories, with Triton's client."""

import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.e2e.server import HANGS_AFTER_S, SERVE, Server, environment
from tests.seam.models import scaling
from tests.waiting import wait_until

BATCHED = """
name: "net"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output [
  { name: "y" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" is_non_linear_format_io: true }
]
dynamic_batching { preferred_batch_size: [ 4 ] max_queue_delay_microseconds: 100 }
instance_group [ { count: 2 kind: KIND_CPU } ]
version_policy { all { } }
"""
ENSEMBLE = """
platform: "ensemble"
ensemble_scheduling { step [ { model_name: "net" model_version: -1 } ] }
"""


LIBTORCH = """
backend: "pytorch"
max_batch_size: 4
input [
  { name: "INPUT__1" data_type: TYPE_FP32 dims: [ 4 ] },
  { name: "INPUT__0" data_type: TYPE_FP32 dims: [ 4 ] }
]
output [ { name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ 4 ] } ]
parameters: { key: "INFERENCE_MODE" value: { string_value: "true" } }
"""


class Difference(torch.nn.Module):
    def forward(self, INPUT__0: torch.Tensor, INPUT__1: torch.Tensor) -> torch.Tensor:
        return INPUT__0 - INPUT__1


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two versions of `net`, an ensemble, and a model without a config."""
    root = tmp_path / "models"
    for version in (1, 2):
        (root / "net" / str(version)).mkdir(parents=True)
        scaling(root / "net" / str(version) / "model.onnx", version)
    (root / "net" / "config.pbtxt").write_text(BATCHED)
    (root / "net" / "labels.txt").write_text("a\nb\nc\nd\n")
    (root / "pipeline" / "1").mkdir(parents=True)
    (root / "pipeline" / "config.pbtxt").write_text(ENSEMBLE)
    scaling(root / "alone.onnx", 10)
    return root


def connected(server: Server) -> triton.InferenceServerClient:
    return triton.InferenceServerClient(f"{server.client.base_url.host}:{server.client.base_url.port}")


def factor(client: triton.InferenceServerClient, model: str, version: str = "") -> float:
    x = triton.InferInput("x", [1, 4], "FP32")
    x.set_data_from_numpy(np.ones((1, 4), np.float32))
    return float(client.infer(model, [x], model_version=version).as_numpy("y")[0, 0])


def contents(root: Path) -> dict[str, tuple[int, int]]:
    """Of everything in a folder, its size and when it changed."""
    return {
        str(path): (found.st_size, found.st_mtime_ns) for path in root.rglob("*") if (found := path.stat())
    }


def test_a_folder_of_tritons_is_served_unchanged(tmp_path: Path, models: Path) -> None:
    before = contents(models)
    for path in (models, *models.rglob("*")):
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    with Server(tmp_path / "store", "--model-repository", str(models)) as server:
        server.wait_until_ready()
        client = connected(server)
        assert [factor(client, "net", version) for version in ("1", "2", "")] == [1, 2, 2]
        assert factor(client, "alone") == 10
        x = triton.InferInput("x", [1, 4], "FP32")
        x.set_data_from_numpy(np.array([[1, 2, 4, 3]], np.float32))
        classes = client.infer("net", [x], outputs=[triton.InferRequestedOutput("y", class_count=1)])
        assert classes.as_numpy("y").tolist() == [[b"8.000000:2:c"]]
        config = client.get_model_config("net")
        assert config["max_batch_size"] == 8
        assert config["dynamic_batching"]["preferred_batch_size"] == [4]
        assert config["instance_group"][0]["count"] == 2
        index = {(row["name"], row["version"]): row for row in client.get_model_repository_index()}
        assert index["net", "2"]["state"] == index["alone", "1"]["state"] == "READY"
        assert index["pipeline", "1"]["state"] == "UNAVAILABLE"
        assert "ensemble_scheduling" in index["pipeline", "1"]["reason"]
        client.close()
    assert contents(models) == before
    table = server.log[server.log.index("model     versions") :]
    assert "alone     1         yes" in table
    assert "net       1, 2      yes     ignored: output.is_non_linear_format_io" in table
    assert "pipeline  -         no      The config asks for ensemble_scheduling" in table


def test_a_restart_loads_each_model_once(tmp_path: Path, models: Path) -> None:
    with Server(tmp_path / "store", "--model-repository", str(models)) as server:
        server.wait_until_ready()
        server.stop()
        before = len(server.log)
        server.start()
        server.wait_until_ready()
        assert server.log[before:].count("loaded in") == 3
        assert "trial load" not in server.log[before:]
        assert not list((server.store / "incoming").iterdir())
        shutil.rmtree(models / "net")
        server.stop()
        server.start()
        server.wait_until_ready()
        assert [engine["name"] for engine in server.client.get("/engines").json()["engines"]] == ["alone"]


def test_a_polled_folder_is_followed(tmp_path: Path, models: Path) -> None:
    options = ("--model-control-mode", "poll", "--repository-poll-secs", "0.1")
    with Server(tmp_path / "store", "--model-repository", str(models), *options) as server:
        server.wait_until_ready()
        client = connected(server)
        (models / "net" / "3").mkdir()
        scaling(models / "net" / "3" / "model.onnx", 3)
        wait_until(lambda: factor(client, "net") == 3, "version 3")
        scaling(models / "alone.onnx", 11)
        wait_until(lambda: factor(client, "alone") == 11, "the changed file")
        (models / "alone.onnx").unlink()
        wait_until(lambda: not client.is_model_ready("alone"), "the end of the removed model")
        client.close()


def test_an_explicit_folder_is_loaded_by_name(tmp_path: Path, models: Path) -> None:
    options = ("--model-control-mode", "explicit")
    with Server(tmp_path / "store", "--model-repository", str(models), *options) as server:
        server.wait_until_ready()
        client = connected(server)
        states = {(row["name"], row["state"]) for row in client.get_model_repository_index()}
        assert states == {("alone", "UNAVAILABLE"), ("net", "UNAVAILABLE"), ("pipeline", "UNAVAILABLE")}
        client.load_model("net")
        assert factor(client, "net") == 2
        client.unload_model("net")
        assert not client.is_model_ready("net")
        client.load_model("net")
        assert factor(client, "net") == 2
        with pytest.raises(InferenceServerException, match="ensemble_scheduling"):
            client.load_model("pipeline")
        client.close()


def test_a_module_of_tritons_has_its_tensors_from_its_config(tmp_path: Path) -> None:
    models = tmp_path / "models"
    (models / "minus" / "1").mkdir(parents=True)
    (models / "minus" / "config.pbtxt").write_text(LIBTORCH)
    torch.jit.script(Difference()).save(str(models / "minus" / "1" / "model.pt"))
    with Server(tmp_path / "store", "--model-repository", str(models)) as server:
        server.wait_until_ready()
        assert "minus  1         yes     ignored: parameters.INFERENCE_MODE" in server.log
        client = connected(server)
        inputs = [triton.InferInput(name, [2, 4], "FP32") for name in ("INPUT__0", "INPUT__1")]
        for number, each in enumerate(inputs):
            each.set_data_from_numpy(np.full((2, 4), 3 - number, np.float32))
        assert (client.infer("minus", inputs).as_numpy("OUTPUT__0") == 1).all()
        client.close()


def test_a_server_does_not_start_on_a_folder_that_is_not_there(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*SERVE, "serve", "--store", str(tmp_path / "store"), "--model-repository", str(tmp_path / "none")],
        check=False,
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_S,
        env=environment(),
    )
    assert ended.returncode == 1
    assert "--model-repository (TRTSERVE_MODEL_REPOSITORY)" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
