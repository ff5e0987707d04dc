"""Modules that take all that they can get: what their uploaders and clients see, and others do not."""

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from tests.e2e.server import Server
from tests.seam.backends.torchscript.modules import from_code

N = {"name": "n", "datatype": "INT64", "shape": [1]}
Y = {"name": "y", "datatype": "FP32", "shape": [-1]}
DOCUMENT = json.dumps({"inputs": [N], "outputs": [Y]})
MOST_FORK_THREADS = 64  # see fork_threads.cpp


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    options = ("--trial-load-timeout-s", "60", "--instances", "1", "--request-timeout-s", "20")
    with Server(tmp_path_factory.mktemp("hostile") / "store", *options) as running:
        yield running


def scripted(*functions: str) -> bytes:
    """The archive of a module that has these functions; the last one is `forward`."""
    file = io.BytesIO()
    torch.jit.save(from_code(*functions), file, _extra_files={"trtserve.json": DOCUMENT})
    return file.getvalue()


def upload(server: Server, archive: bytes) -> httpx.Response:
    return server.client.post("/modules", params={"name": "m"}, content=archive)


def infer(server: Server, n: int, timeout_ms: int | None = None) -> httpx.Response:
    headers = {} if timeout_ms is None else {"Inference-Timeout-Ms": str(timeout_ms)}
    inputs = [{**N, "data": [n]}]
    return server.client.post("/modules/m/infer", json={"inputs": inputs}, headers=headers)


def threads(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))


@pytest.mark.parametrize("maker", ["zeros", "empty", "rand"])
def test_a_tensor_of_terabytes_fails_its_own_request_only(server: Server, maker: str) -> None:
    forward = f"def forward(self, n: Tensor) -> Tensor:\n    return torch.{maker}([int(n.item())])\n"
    upload(server, scripted(forward)).raise_for_status()
    refused = infer(server, 2**42)
    assert refused.status_code in {500, 503}, refused.text
    assert "memory" in refused.json()["error"]
    assert len(infer(server, 3).json()["outputs"][0]["data"]) == 3


def test_a_constant_of_terabytes_takes_no_memory_before_it_is_asked_for(server: Server) -> None:
    forward = f"def forward(self, n: Tensor) -> Tensor:\n    return torch.zeros([{2**42}]) + n\n"
    upload(server, scripted(forward)).raise_for_status()
    refused = infer(server, 1)
    assert refused.status_code in {500, 503}, refused.text
    assert "memory" in refused.json()["error"]


ENDLESS = """
def forward(self, n: Tensor) -> Tensor:
    y = n.float()
    while bool((y > 5).any()):
        y = y + 1
    return y
"""


def test_an_endless_loop_ends_with_its_request_and_leaves_its_instance(server: Server) -> None:
    upload(server, scripted(ENDLESS)).raise_for_status()
    late = infer(server, 6, timeout_ms=200)
    assert (late.status_code, late.json()["code"]) == (504, "DeadlineExceeded")
    assert infer(server, 5).json()["outputs"][0]["data"] == [5]  # by the one instance that there is


def endless(n: torch.Tensor) -> torch.Tensor:
    y = n.float()
    while bool((y > 5).any()):
        y = y + 1
    return y


class Forks(torch.nn.Module):
    """Each task begins the next before it ends, or does not end."""

    def forward(self, n: torch.Tensor) -> torch.Tensor:
        a, b, c, d = (
            torch.jit.fork(endless, n),
            torch.jit.fork(endless, n),
            torch.jit.fork(endless, n),
            torch.jit.fork(endless, n),
        )
        for _ in range(100):
            a = torch.jit.fork(endless, n)
            b = torch.jit.fork(endless, n)
        return torch.jit.wait(a) + torch.jit.wait(b) + torch.jit.wait(c) + torch.jit.wait(d)


def test_forks_without_number_or_end_take_a_bounded_number_of_threads_and_end(server: Server) -> None:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(Forks()), file, _extra_files={"trtserve.json": DOCUMENT})
    upload(server, file.getvalue()).raise_for_status()
    before = threads(server)
    late = infer(server, 6, timeout_ms=500)
    assert late.status_code == 504, late.text
    assert threads(server) <= before + MOST_FORK_THREADS + 2
    assert infer(server, 5).json()["outputs"][0]["data"] == [20]


def rewritten(archive: bytes, old: str, new: str) -> bytes:
    """The archive with other source; the places of its source are left out, since they are others now."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as given, zipfile.ZipFile(file, "w") as made:
        for name in given.namelist():
            content = given.read(name)
            if name.endswith(".debug_pkl"):
                continue
            made.writestr(
                name, content.replace(old.encode(), new.encode()) if name.endswith(".py") else content
            )
    return file.getvalue()


def test_source_that_is_nested_without_end_ends_only_the_process_that_inspects_it(server: Server) -> None:
    plain = scripted("def forward(self, n: Tensor) -> Tensor:\n    return torch.neg(n)\n")
    deep = 300_000
    refused = upload(server, rewritten(plain, "torch.neg(n)", f"{'(' * deep}torch.neg(n){')' * deep}"))
    assert refused.status_code == 400, refused.text
    assert "crashed" in refused.json()["error"]
    assert server.client.get("/health/ready").status_code == 200


def test_functions_that_call_each_other_twice_cannot_take_all_memory_or_time(server: Server) -> None:
    """Written out, the last one is 2**60 operations."""
    functions = ["def f0(self, n: Tensor) -> Tensor:\n    return torch.neg(n)\n"]
    for i in range(1, 60):
        functions.append(
            f"def f{i}(self, n: Tensor) -> Tensor:\n    return self.f{i - 1}(self.f{i - 1}(n))\n"
        )
    functions.append("def forward(self, n: Tensor) -> Tensor:\n    return self.f59(n)\n")
    refused = upload(server, scripted(*functions))
    assert refused.status_code == 400, refused.text
    assert "more than 100000 operations" in refused.json()["error"]
    assert server.client.get("/health/ready").status_code == 200
