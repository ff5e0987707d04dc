"""Real plans behind HTTP: a server process, uploads, and requests with binary data."""

import importlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tests.gpu.conftest import cannot_run
from tests.gpu.models import Values
from tests.gpu.real import DTYPES, as_tensor

if TYPE_CHECKING:
    from tests.e2e.server import Server


@contextmanager
def serving(folder: Path, *options: str) -> Iterator["Server"]:
    """Run a server; the test cannot run where the service's dependencies are missing."""
    try:
        importlib.import_module("trtserve.server.process")
        server = importlib.import_module("tests.e2e.server")
    except ImportError as missing:
        cannot_run(f"the service's dependencies are not installed: {missing}")
    with server.Server(folder / "store", *options) as running:
        yield running


def upload(server: "Server", plan: Path, name: str, **options: object) -> dict[str, Any]:
    """Upload a plan; return the server's description of the engine."""
    answer = server.client.post("/engines", params={"name": name, **options}, content=plan.read_bytes())
    assert answer.status_code in {200, 201}, answer.text
    engine: dict[str, Any] = answer.json()
    assert engine["state"] == "READY"
    return engine


def ask(server: "Server", engine: dict[str, Any], case: Values) -> Values:
    """Send a case as binary data; return the outputs, which come as binary data too."""
    inputs, blobs = [], b""
    for spec in engine["inputs"]:
        x = case[spec["name"]].to(DTYPES[spec["datatype"]]).contiguous()
        blob = x.reshape(-1).view(torch.uint8).numpy().tobytes() if x.numel() else b""
        inputs.append(
            {
                "name": spec["name"],
                "shape": list(x.shape),
                "datatype": spec["datatype"],
                "parameters": {"binary_data_size": len(blob)},
            }
        )
        blobs += blob
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    answer = server.client.post(
        f"/engines/{engine['id']}/infer",
        content=header + blobs,
        headers={"Inference-Header-Content-Length": str(len(header))},
    )
    assert answer.status_code == 200, answer.text
    length = int(answer.headers["inference-header-content-length"])
    outputs, at = {}, length
    for output in json.loads(answer.content[:length])["outputs"]:
        end = at + output["parameters"]["binary_data_size"]
        outputs[output["name"]] = as_tensor(answer.content[at:end], output["datatype"], output["shape"])
        at = end
    return outputs
