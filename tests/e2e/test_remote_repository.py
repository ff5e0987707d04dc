"""A folder of models on another machine: in S3, by moto's server, and behind HTTP, by Python's."""

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.e2e.server import Server
from tests.seam.models import scaling
from tests.waiting import wait_until
from trtserve.errors import Unavailable
from trtserve.folder.files import open_files, read_small
from trtserve.folder.layout import look

POLL = ("--model-control-mode", "poll", "--repository-poll-secs", "0.2")
CONFIG = b'max_batch_size: 4 input { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } dynamic_batching { }'
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "NO_PROXY": "127.0.0.1",
}


class Bucket:
    """A bucket of a server with the API of S3."""

    def __init__(self, endpoint: str) -> None:
        self.variables = CREDENTIALS | {"AWS_ENDPOINT_URL": endpoint}
        self._s3 = boto3.client("s3", endpoint_url=endpoint)
        self._s3.create_bucket(Bucket="models")

    def put(self, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket="models", Key=key, Body=content)

    def delete(self, key: str) -> None:
        self._s3.delete_object(Bucket="models", Key=key)

    def delete_all(self) -> None:
        for found in self._s3.list_objects_v2(Bucket="models").get("Contents", ()):
            self.delete(found["Key"])


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        bucket = Bucket(f"http://{host}:{port}")
        for name, value in bucket.variables.items():
            monkeypatch.setenv(name, value)
        yield bucket
        bucket.delete_all()  # all of moto's servers in a process have the same buckets
    finally:
        server.stop()


def model(tmp_path: Path, factor: float) -> bytes:
    return scaling(tmp_path / "scaling.onnx", factor).read_bytes()


def factor(server: Server, name: str) -> float:
    document = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 1, 1, 1]}]}
    answer = server.client.post(f"/v2/models/{name}/infer", json=document)
    return float(answer.raise_for_status().json()["outputs"][0]["data"][0])


def test_models_in_s3_are_served_and_followed(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("serving/net/config.pbtxt", CONFIG)
    bucket.put("serving/net/1/model.onnx", model(tmp_path, 1))
    bucket.put("serving/alone.onnx", model(tmp_path, 10))
    with Server(tmp_path / "store", "--model-repository", "s3://models/serving", *POLL) as server:
        server.wait_until_ready()
        assert (factor(server, "net"), factor(server, "alone")) == (1, 10)
        bucket.put("serving/net/2/model.onnx", model(tmp_path, 2))
        wait_until(lambda: factor(server, "net") == 2, "version 2")
        bucket.put("serving/alone.onnx", model(tmp_path, 11))
        wait_until(lambda: factor(server, "alone") == 11, "the changed object")
        bucket.delete("serving/alone.onnx")
        wait_until(
            lambda: server.client.get("/v2/models/alone").status_code == 404, "the end of the removed model"
        )
        server.stop()
        before = len(server.log)
        server.start()
        server.wait_until_ready()
        assert "trial load" not in server.log[before:]  # nothing was taken anew


def test_a_server_serves_what_its_store_has_while_s3_is_away(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("net.onnx", model(tmp_path, 3))
    with Server(tmp_path / "store", "--model-repository", "s3://models", *POLL) as server:
        server.wait_until_ready()
        server.stop()
        server.variables = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_MAX_ATTEMPTS": "1"}
        server.start()
        server.wait_until_ready()
        assert factor(server, "net") == 3
        wait_until(lambda: "s3://models cannot be read" in server.log, "the failure in the log")
        assert factor(server, "net") == 3


def test_a_folder_in_s3_is_read_in_blocks_and_large_objects_are_refused_unread(
    tmp_path: Path, bucket: Bucket
) -> None:
    content = os.urandom(9_000_001)
    bucket.put("net/1/model.onnx", content)
    bucket.put("net/1/.hidden", b"")
    bucket.put("net/", b"")  # as the console of S3 makes a folder
    files = open_files("s3://models")
    found = look(files)["net"]
    (entry,) = found.versions[1]
    assert (entry.name, entry.size) == ("model.onnx", len(content))
    assert files.entry(["net", "1", "model.onnx"]).stamp == entry.stamp
    blocks = list(files.blocks(["net", "1", "model.onnx"]))
    assert b"".join(blocks) == content
    assert len(blocks) > 2
    bucket.put("net/1/model.onnx", content)
    assert len(look(files)["net"].versions[1]) == 1
    with pytest.raises(Unavailable, match=r"s3://models/nowhere cannot be read: it is not there"):
        files.entries(["nowhere"])
    with pytest.raises(Unavailable, match="cannot be read"):
        read_small(files, ["nowhere"], 10)
    with Server(
        tmp_path / "store", "--model-repository", "s3://models", "--max-plan-bytes", "1000000"
    ) as server:
        server.wait_until_ready()
        (row,) = server.client.post("/v2/repository/index").json()
        assert "--max-plan-bytes" in row["reason"]
        assert not list((server.store / "incoming").iterdir())


@pytest.fixture
def page(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the URL that lists it."""
    root = tmp_path / "pages"
    (root / "models").mkdir(parents=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield root / "models", f"http://127.0.0.1:{server.server_port}/models"
    server.shutdown()
    thread.join()
    server.server_close()


def test_models_behind_http_are_served_from_its_pages(tmp_path: Path, page: tuple[Path, str]) -> None:
    root, url = page
    (root / "net" / "1").mkdir(parents=True)
    (root / "net" / "config.pbtxt").write_bytes(CONFIG)
    (root / "net" / "1" / "model.onnx").write_bytes(model(tmp_path, 5))
    (root / "alone.onnx").write_bytes(model(tmp_path, 6))
    assert httpx.get(f"{url}/").status_code == 200
    with Server(tmp_path / "store", "--model-repository", url, *POLL) as server:
        server.variables = {"NO_PROXY": "127.0.0.1"}
        server.wait_until_ready()
        assert (factor(server, "net"), factor(server, "alone")) == (5, 6)
        (root / "alone.onnx").write_bytes(model(tmp_path, 7.5))
        os.utime(root / "alone.onnx", (1, 1))  # pages tell whole seconds
        wait_until(lambda: factor(server, "alone") == 7.5, "the changed file")
