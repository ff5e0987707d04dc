"""What is said of URLs that cannot be read, or are slow; tests/e2e reads real ones."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.registry import _registry

from trtserve.errors import InvalidInput, Unavailable
from trtserve.folder import remote_files
from trtserve.folder.files import Slow, open_files


@pytest.mark.parametrize(
    ("url", "module"),
    [("s3://bucket/models", "s3fs"), ("gs://bucket", "gcsfs"), ("https://host/models", "aiohttp")],
)
def test_a_missing_extra_is_told_with_its_name(
    url: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    # fsspec keeps what it has once found, perhaps in another test.
    monkeypatch.delitem(_registry, urlsplit(url).scheme, raising=False)
    with pytest.raises(InvalidInput, match=r"pip install 'trtserve\[remote\]'"):
        open_files(url)


def test_a_scheme_that_nothing_reads_is_refused() -> None:
    with pytest.raises(InvalidInput, match="cannot be used"):
        open_files("nothing://host/models")


def test_a_password_is_not_told() -> None:
    files = open_files("http://user:secret@127.0.0.1:1/models")
    assert files.root == "http://127.0.0.1:1/models"
    with pytest.raises(Unavailable) as failure:
        files.entries()
    assert "secret" not in str(failure.value)


class Silent(AsyncFileSystem):  # type: ignore[misc]
    """A file system with one file, whose requests of one kind get no answer."""

    protocol = "silent"
    cachable = False
    silent = ""
    given_up: list[str]

    async def _answer(self, request: str) -> None:
        if request == type(self).silent:
            try:
                await asyncio.Event().wait()
            finally:
                self.given_up.append(request)

    async def _ls(self, path: str, detail: bool = True, **more: Any) -> list[dict[str, Any]]:
        await self._answer("ls")
        return [{"name": f"{path.rstrip('/')}/net.onnx", "type": "file", "size": 4}]

    async def _info(self, path: str, **more: Any) -> dict[str, Any]:
        await self._answer("info")
        return {"name": path, "type": "file", "size": 4}

    async def _cat_file(self, path: str, start: int = 0, end: int = 4, **more: Any) -> bytes:
        await self._answer("cat_file")
        return b"plan"[start:end]


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> type[Silent]:
    monkeypatch.setitem(_registry, "silent", Silent)
    monkeypatch.setattr(Silent, "silent", "")
    monkeypatch.setattr(Silent, "given_up", [], raising=False)
    monkeypatch.setattr(remote_files, "LOOK_S", 0.01)
    monkeypatch.setattr(remote_files, "PART_S", 0.01)
    return Silent


def test_a_request_without_an_answer_ends_and_says_where(silent: type[Silent]) -> None:
    files = open_files("silent://host/models")
    silent.silent = "ls"
    with pytest.raises(Unavailable, match="silent://host/models cannot be read: it is slow or silent"):
        files.entries()
    with pytest.raises(Slow, match="models/net cannot be read: it is slow or silent"):
        files.entries(["net"])
    silent.silent = "info"
    with pytest.raises(Slow, match=r"models/net.onnx cannot be read: it is slow or silent"):
        files.entry(["net.onnx"])
    silent.silent = "cat_file"
    with pytest.raises(Slow, match=r"models/net.onnx cannot be read: it is slow or silent"):
        list(files.blocks(["net.onnx"]))
    assert silent.given_up == ["ls", "ls", "info", "cat_file"]


def test_a_file_is_read_in_parts(silent: type[Silent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "PART_S", 60.0)
    monkeypatch.setattr(remote_files, "PART_BYTES", 3)
    assert list(open_files("silent://host/models").blocks(["net.onnx"])) == [b"pla", b"n"]


@pytest.fixture
def dripping() -> Iterator[str]:
    """The URL of a server that sends a file of two halves, one by one."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "8")
            self.end_headers()

        def do_GET(self) -> None:
            self.do_HEAD()
            for _ in range(2):
                self.wfile.write(b"half")
                self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_file_behind_http_that_comes_too_slowly_is_given_up(
    dripping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    files = open_files(dripping)
    assert b"".join(files.blocks(["net.onnx"])) == b"halfhalf"
    monkeypatch.setattr(remote_files, "PART_S", 1e-9)
    with pytest.raises(Slow, match=r"net.onnx cannot be read: it is slow or silent"):
        list(files.blocks(["net.onnx"]))
