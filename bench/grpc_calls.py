"""gRPC by payload, concurrency and kind of call: our fast path, grpc.aio, and Triton's C++ backend.

The engine costs nothing (y = 2x). The servers share one core, one at a time, and the client
(bench/grpc_load.cpp), which decodes no answer and so costs the same for each, has another.
"""

import json
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from bench import models, triton, wrk
from bench.compiled import compiled
from bench.frontend import LOAD_CORE, SERVER_CORE
from bench.serving import add, serving
from bench.wrk import Load

CONCURRENCY = (1, 8, 64)
SERVICE = "/inference.GRPCInferenceService/"
KINDS = {"unary": SERVICE + "ModelInfer", "stream": SERVICE + "ModelStreamInfer"}
SHAPES = {"identity": ("16 floats", [16]), "image": ("602 KB", [3, 224, 224])}


def measure(folder: Path, rounds: int, seconds: int, venv: Path | None) -> dict[str, Any]:
    """Return {"rows": medians over interleaved rounds}, or {"not_run": the reason}."""
    reason = missing()
    if reason:
        return {"not_run": reason}
    requests = {model: _request(folder, model) for model in SHAPES}
    with _servers(folder, venv) as addresses:
        keys = [
            (kind, model, connections, server)
            for kind in KINDS
            for model in SHAPES
            for connections in CONCURRENCY
            for server in addresses
        ]
        measured: dict[tuple[str, str, int, str], list[Load]] = {key: [] for key in keys}
        for kind, model, connections, server in keys:
            if connections == CONCURRENCY[0]:
                load(addresses[server], kind, requests[model], 8, 1)  # warm
        for number in range(rounds):
            for key in keys if number % 2 == 0 else reversed(keys):
                kind, model, connections, server = key
                measured[key].append(load(addresses[server], kind, requests[model], connections, seconds))
    return {"rows": [_row(*key, loads) for key, loads in measured.items()]}


def missing() -> str:
    """Say what the client needs and this machine lacks; empty: nothing."""
    if shutil.which("g++") is None:
        return "the compiler g++ is missing; on Debian: apt-get install g++"
    command = ["g++", "-E", "-x", "c++", "-include", "nghttp2/nghttp2.h", "/dev/null"]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        return "nghttp2's headers are missing; on Debian: apt-get install libnghttp2-dev"
    try:
        import_module("tritonclient.grpc.service_pb2")
    except ImportError:
        return "tritonclient, which encodes the requests, is missing: pip install 'tritonclient[grpc]'"
    return ""


def load(address: str, kind: str, request: Path, connections: int, seconds: int) -> Load:
    """Keep one request under way on each connection. Raise RuntimeError if the client fails."""
    program = compiled("grpc_load.cpp", "grpc_load", "-Wl,--no-as-needed", "-lnghttp2")
    host, port = address.rsplit(":", 1)
    command = [str(program), host, port, KINDS[kind], str(request), str(connections), str(seconds), kind]
    with wrk.on_core(LOAD_CORE):
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60)
    if ended.returncode != 0:
        raise RuntimeError(f"a {kind} load on {address} failed: {ended.stderr.strip()}")
    counted = json.loads(ended.stdout)
    return Load(counted["per_second"], counted["p50_us"], counted["p99_us"], counted["errors"])


def _row(kind: str, model: str, connections: int, server: str, loads: list[Load]) -> dict[str, Any]:
    return {
        "kind": kind,
        "payload": SHAPES[model][0],
        "concurrency": connections,
        "server": server,
        "per_second": statistics.median(each.per_second for each in loads),
        "p50_us": statistics.median(each.p50_us for each in loads),
        "p99_us": statistics.median(each.p99_us for each in loads),
        "errors": sum(each.errors for each in loads),
    }


def _request(folder: Path, model: str) -> Path:
    """Write an encoded ModelInferRequest of one item."""
    service_pb2 = import_module("tritonclient.grpc.service_pb2")  # late: see missing()
    _, shape = SHAPES[model]
    x = np.random.rand(1, *shape).astype(np.float32)
    request = service_pb2.ModelInferRequest(model_name=model)
    request.inputs.add(name="INPUT0", datatype="FP32", shape=x.shape)
    request.outputs.add(name="OUTPUT0")
    request.raw_input_contents.append(x.tobytes())
    path = folder / f"{model}.grpc"
    path.write_bytes(request.SerializeToString())
    return path


@contextmanager
def _servers(folder: Path, venv: Path | None) -> Iterator[dict[str, str]]:
    """Yield the name and gRPC address of each server."""
    with ExitStack() as stack:
        addresses = {}
        for name, kind in {"trtserve": "auto", "trtserve-aio": "aio"}.items():
            server = stack.enter_context(serving(folder, SERVER_CORE, "--grpc-server", kind, grpc=True))
            for model, (_, shape) in SHAPES.items():
                plan = models.doubling(folder / f"{model}.onnx", shape)
                add(server, model, plan, max_batch_size=64 if model == "identity" else 1)
            addresses[name] = server.grpc_address
        peers = stack.enter_context(triton.peers(venv, folder, SERVER_CORE, grpc=True))
        yield addresses | {name: address for name, address in peers.items() if name == "triton-c++"}
