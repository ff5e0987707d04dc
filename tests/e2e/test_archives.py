"""Uploads of an ONNX model together with the files that hold its tensors."""

import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.server import Server

W = np.arange(16, dtype=np.float32).reshape(4, 4)
X = np.arange(8, dtype=np.float32).reshape(2, 4)


def archive(folder: Path) -> tuple[bytes, bytes]:
    """A zip of y = x w with w in a file of its own; and the model as one file."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 4])],
        [numpy_helper.from_array(W, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    whole = bytes(model.SerializeToString())
    onnx.save_model(
        model, str(folder / "m.onnx"), save_as_external_data=True, location="m.data", size_threshold=0
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as writer:
        for file in ("m.onnx", "m.data"):
            writer.write(folder / file, f"net/{file}")
    return packed.getvalue(), whole


def infers(server: Server) -> bool:
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP32", "data": X.ravel().tolist()}
    answer = server.client.post("/engines/net/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    return np.allclose(answer.json()["outputs"][0]["data"], (X @ W).ravel())


def test_an_archive_is_one_engine_that_a_restart_knows(tmp_path: Path) -> None:
    packed, whole = archive(tmp_path)
    store = tmp_path / "store"
    with Server(store) as server:
        answer = server.client.post("/engines", params={"name": "net"}, content=packed)
        assert answer.status_code == 201, answer.text
        engine = answer.json()
        assert engine["format"] == "onnx"
        assert infers(server)
        again = server.client.post("/engines", params={"name": "net"}, content=packed)
        assert (again.status_code, again.json()["id"]) == (200, engine["id"])
        assert not list(store.rglob("*.part"))
    with Server(store) as server:
        server.wait_until_ready()
        assert server.client.get("/engines/net").json()["id"] == engine["id"]
        assert infers(server)
    plan = onnx.load_from_string(next(file for file in store.rglob("*") if hashed(file, engine)).read_bytes())
    assert plan == onnx.load_from_string(whole)


def hashed(file: Path, engine: dict[str, object]) -> bool:
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() in str(engine["digest"])


def test_an_archive_without_the_data_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    archive(tmp_path)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as writer:
        writer.write(tmp_path / "m.onnx", "m.onnx")
    with Server(tmp_path / "store") as server:
        answer = server.client.post("/engines", content=packed.getvalue())
        assert answer.status_code == 400
        assert "tensor 'w' is in the file 'm.data', which the archive does not have" in answer.json()["error"]
        assert server.client.get("/engines").json()["engines"] == []
        assert not list((tmp_path / "store").rglob("*.part"))
