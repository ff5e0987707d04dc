"""A wrong or broken upload is refused with a reason and leaves nothing behind (the fixture checks)."""

import gzip
import io
import re
import socket
import zipfile

import onnx
import pytest
import torch

from runtime_ext.backends import built_backends
from tests.e2e.server import Server
from tests.fakes.plans import tensorrt_plan, ultralytics_plan


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02.")
        archive.writestr("model/version", b"3\n")
    return file.getvalue()


@pytest.mark.parametrize(
    ("plan", "status", "sentence"),
    [
        (b"", 400, "empty"),
        (b"\x00\x01\x02\x03 some garbage", 400, "00 ?01 ?02 ?03"),
        (b"<!DOCTYPE html><html><body>404</body></html>", 400, "HTML"),
        (b'{"error": "no such model"}', 400, "JSON"),
        (zip_file(), 400, "PyTorch.*ONNX"),
        (gzip.compress(b"x" * 100), 400, "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", 400, "LFS"),
        (b"\x08\x07\x12\x04oops" + b"\x3a\x03abc", 400, r"has no opset_import\): it is cut off"),
    ],
    ids=["empty", "garbage", "html", "json", "zip", "gzip", "lfs", "broken-onnx"],
)
def test_the_refusal_of_a_file_names_what_it_is(
    server: Server, plan: bytes, status: int, sentence: str
) -> None:
    check_refusal(server, plan, status, sentence)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU, tests/gpu asks TensorRT itself")
@pytest.mark.parametrize(
    "plan", [tensorrt_plan((10, 13, 2, 6)), ultralytics_plan()], ids=["plain", "wrapped"]
)
def test_the_refusal_of_a_tensorrt_plan_names_what_the_server_lacks(server: Server, plan: bytes) -> None:
    if any(name.startswith("tensorrt") for name in built_backends()):
        check_refusal(server, plan, 503, "TensorRT.*(needs an NVIDIA GPU|runtime library)")
    else:
        check_refusal(server, plan, 501, r"10\.13\.2\.6.*README, \"On a GPU\"")


@pytest.mark.parametrize("version", [15, 2**40])
def test_an_unsupported_onnx_version_is_named(server: Server, plan: bytes, version: int) -> None:
    model = onnx.load_model_from_string(plan)
    model.ir_version = version
    check_refusal(server, model.SerializeToString(), 501, f"IR version {version}, but only versions 1 to")


def test_an_unsupported_operator_is_named(server: Server, plan: bytes) -> None:
    model = onnx.load_model_from_string(plan)
    model.graph.node[0].op_type = "Frobnicate"
    check_refusal(server, model.SerializeToString(), 501, "does not have the operator Frobnicate of ai.onnx")


def check_refusal(server: Server, plan: bytes, status: int, sentence: str) -> None:
    answer = server.client.post("/engines", params={"name": "bad"}, content=plan)
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error", "code"}
    assert re.search(sentence, body["error"], re.IGNORECASE), body["error"]
    assert server.client.get("/engines").json() == {"engines": []}


def test_half_of_a_real_plan_is_refused(server: Server, plan: bytes) -> None:
    answer = server.client.post("/engines", content=plan[: len(plan) // 2])
    assert (answer.status_code, answer.json()["code"]) == (400, "InvalidInput")


def test_a_client_that_leaves_halfway_leaves_nothing(server: Server, plan: bytes) -> None:
    with connect(server) as connection:
        head = f"POST /engines?name=half HTTP/1.1\r\nHost: x\r\nContent-Length: {len(plan)}\r\n\r\n"
        connection.sendall(head.encode() + plan[: len(plan) // 2])
    # The server answers the next request after it has seen the end of this one, or independently of it.
    assert server.client.post("/engines", params={"name": "whole"}, content=plan).status_code == 201
    assert [e["name"] for e in server.client.get("/engines").json()["engines"]] == ["whole"]


def test_a_chunked_upload_is_accepted(server: Server, plan: bytes) -> None:
    chunks = (plan[i : i + 50] for i in range(0, len(plan), 50))
    assert server.client.post("/engines", content=chunks).status_code == 201


def connect(server: Server) -> socket.socket:
    url = server.client.base_url
    return socket.create_connection((url.host, url.port), timeout=60)
