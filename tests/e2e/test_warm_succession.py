"""What a warm restart carries over under load: TLS, modules, and a store that a newer version migrates."""

import signal
import sqlite3
import ssl
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
import torch

from runtime_ext import GRPC_SESSION
from tests.certificates import Files
from tests.e2e.load import BODY, Load
from tests.e2e.server import HANGS_AFTER_S, Server
from tests.e2e.successors import OWN, restart, succeeded
from tests.seam.models import scaling
from tests.waiting import wait_until
from trtserve.store.schema import SCHEMA_VERSION

NEWER = SCHEMA_VERSION + 1
MIGRATES = f"""
import os
if "_TRTSERVE_INHERITED" in os.environ:
    from trtserve.store import schema
    schema.MIGRATIONS[schema.SCHEMA_VERSION] = "CREATE INDEX engines_of_names ON version (engine);"
    schema.SCHEMA_VERSION = {NEWER}
"""

pytestmark = pytest.mark.skipif(not GRPC_SESSION, reason="grpc.aio cannot hand its socket over")


class CallsNet(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        called: torch.Tensor = torch.ops.trt.execute_engine_list(torch.ops.trt.engine("net"), [x])[0]
        return called


@pytest.fixture
def plain(tmp_path: Path) -> Server:
    return Server(tmp_path / "store", "--drain-s", "10", *OWN, grpc=True)


@pytest.fixture
def to_newer(plain: Server, tmp_path: Path) -> Server:
    """A server in whose place a newer version, with another schema, has been installed meanwhile."""
    (tmp_path / "sitecustomize.py").write_text(MIGRATES)
    plain.variables |= {"PYTHONPATH": str(tmp_path)}
    return plain


def add(server: Server, plan: bytes, name: str = "net", path: str = "/engines") -> httpx.Response:
    url = f"{server.client.base_url}{path}"
    return httpx.post(url, params={"name": name}, content=plan, verify=server.trust, timeout=HANGS_AFTER_S)


def certificate(server: Server) -> str:
    """Of the server, for a new connection."""
    address = urlsplit(str(server.client.base_url))
    assert address.hostname is not None
    assert address.port is not None
    return ssl.get_server_certificate((address.hostname, address.port))


def schema_of(server: Server) -> int:
    with closing(sqlite3.connect(server.store / "metadata.sqlite3")) as database:
        (found,) = database.execute("PRAGMA user_version").fetchone()
    return int(found)


def test_with_tls_no_request_is_lost_and_no_connection_refused(tmp_path: Path, plan: bytes) -> None:
    files = Files(tmp_path)
    server = Server(tmp_path / "store", "--drain-s", "10", *OWN, *files.options, grpc=True)
    server.trust = files.trust()
    with succeeded(server):
        add(server, plan).raise_for_status()
        roots = grpc.ssl_channel_credentials(files.authority.cert_pem.bytes())
        load = Load(server, credentials=roots)
        load.go_on()
        before = certificate(server)
        files.write()  # of the same authority
        restart(server)
        load.go_on()
        load.end()
        assert certificate(server) != before
        assert "Traceback" not in server.log


def test_modules_and_the_engines_that_they_call_go_on_together(
    plain: Server, plan: bytes, tmp_path: Path
) -> None:
    document = (
        '{"inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}], '
        '"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]}'
    )
    module = tmp_path / "module.pt"
    torch.jit.save(torch.jit.script(CallsNet()), module, _extra_files={"trtserve.json": document})

    def ask() -> object:
        answer = httpx.post(f"{plain.client.base_url}/modules/calls/infer", json=BODY, timeout=HANGS_AFTER_S)
        assert answer.status_code == 200, answer.text
        return answer.json()["outputs"][0]["data"]

    with succeeded(plain):
        add(plain, plan).raise_for_status()
        add(plain, module.read_bytes(), "calls", "/modules").raise_for_status()
        load = Load(plain, ask)
        load.go_on()
        restart(plain)
        load.go_on()
        load.end()
        assert "Traceback" not in plain.log


def test_a_newer_version_migrates_the_store_and_takes_over(
    to_newer: Server, plan: bytes, tmp_path: Path
) -> None:
    with succeeded(to_newer):
        add(to_newer, plan).raise_for_status()
        assert schema_of(to_newer) == SCHEMA_VERSION
        load = Load(to_newer)
        load.go_on()
        restart(to_newer)
        load.go_on()
        load.end()
        assert schema_of(to_newer) == NEWER
        more = scaling(tmp_path / "scaling.onnx", 5).read_bytes()
        assert add(to_newer, more, "more").status_code == 201
        found = httpx.get(f"{to_newer.client.base_url}/engines").json()["engines"]
        assert {engine["name"] for engine in found} == {"net", "more"}
        assert "Traceback" not in to_newer.log


def test_after_a_newer_version_that_migrated_and_failed_requests_go_on_and_changes_are_refused(
    to_newer: Server, plan: bytes
) -> None:
    with succeeded(to_newer):
        add(to_newer, plan).raise_for_status()
        (file,) = (to_newer.store / "plans").iterdir()
        file.write_bytes(plan[:-1] + bytes([plan[-1] ^ 1]))
        load = Load(to_newer)
        load.go_on()
        to_newer.process.send_signal(signal.SIGUSR2)
        wait_until(lambda: "given up, and changes stay refused" in to_newer.log, "the end of the attempt")
        assert f"a newer trtserve (schema {NEWER}; this one knows {SCHEMA_VERSION})" in to_newer.log
        load.go_on()
        load.end()
        refused = to_newer.client.delete("/engines/net")
        assert (refused.status_code, refused.json()["code"]) == (503, "Unavailable")
        assert "takes no changes" in refused.json()["error"]
        assert f"a newer trtserve (schema {NEWER}" in refused.json()["error"]
        assert "Traceback" not in to_newer.log
