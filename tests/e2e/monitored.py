"""A server whose every metric has something to tell: fake GPUs, engines that do not fit, and clients."""

import io
import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

from tests.e2e.server import Server
from tests.fakes.tensorrt import toy_model
from tests.seam.models import Spec, write_onnx

COMMAND = (sys.executable, "-m", "tests.fakes.with_tensorrt", "trtserve", "serve")
ON_GPU = {"name": "gpu", "backend": "tensorrt", "device": "all", "max_batch_size": "8", "cuda_graphs": "on"}
DOUBLE = "input x FP32 -1 4\noutput y scale x 2"
WIDTH = 1024
NETS = 4  # engines on the CPU
FIT = 0.75  # of what they take is what they may
CLIENTS = 4


@contextmanager
def monitored_server(folder: Path) -> Iterator[Server]:
    """A server with an engine on two fake GPUs, a module, and more on the CPU than fits; a build failed."""
    with Server(folder / "store", "--trial-load", "off", "--keep-compiled", "off", command=COMMAND) as server:
        server.variables["FAKE_GPUS"] = "2"
        _upload(server, toy_model(DOUBLE), **ON_GPU)
        failed = toy_model(f"{DOUBLE}\nbuild_fail it does not work")
        assert (
            server.client.post("/engines", params=ON_GPU | {"name": "bad"}, content=failed).status_code == 400
        )
        for number in range(NETS):
            _upload(server, _net(folder / f"{number}.onnx", number), name=f"net{number}", instances="1")
        _upload(server, _module(), "/modules", name="module")
        # A restart reckons with what each engine took.
        engines = server.client.get("/engines").json()["engines"]
        taken = sum(sum(engine["memory"]["cpu"].values()) for engine in engines)
        server.stop()
        server.variables["TRTSERVE_MEMORY_BUDGET"] = f"cpu={int(FIT * taken)}"
        server.start()
        server.wait_until_ready()
        yield server


def _net(path: Path, number: int) -> bytes:
    """A model of y = x @ w for a w of its own."""
    weights = np.random.default_rng(number).standard_normal((WIDTH, WIDTH)).astype(np.float32)
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    spec: Spec = (TensorProto.FLOAT, ["batch", WIDTH])
    return write_onnx(
        path, [product], {"x": spec}, {"y": spec}, [numpy_helper.from_array(weights, "w")]
    ).read_bytes()


class Calls(torch.nn.Module):
    """Calls the engine that has the most requests, and so is always there."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.ops.trt.execute_engine_list(torch.ops.trt.engine("net0"), [x])[0].relu()


def _module() -> bytes:
    file = io.BytesIO()
    tensor = {"datatype": "FP32", "shape": [-1, WIDTH]}
    document = {"inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}]}
    torch.jit.save(torch.jit.script(Calls()), file, _extra_files={"trtserve.json": json.dumps(document)})
    return file.getvalue()


def _upload(server: Server, plan: bytes, path: str = "/engines", **query: str) -> dict[str, Any]:
    answer = server.client.post(path, params=query, content=plan)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@contextmanager
def load_on(server: Server) -> Iterator[None]:
    """Clients that send right and wrong requests to every engine until the block ends."""
    over = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as threads:
        clients = [
            threads.submit(_client, str(server.client.base_url), number, over.is_set)
            for number in range(CLIENTS)
        ]
        try:
            yield
        finally:
            over.set()
    for client in clients:
        client.result()


def _client(url: str, number: int, is_over: Callable[[], bool]) -> None:
    chance = Random(number)
    with httpx.Client(base_url=url, timeout=120) as client:
        while not is_over():
            nets = [f"net{net}" for net in range(NETS)]
            engine = chance.choices(["gpu", "module", *nets], [600, 50, 200, 150, 5, 2])[0]
            width = 4 if engine == "gpu" else WIDTH
            if chance.random() < 0.02:
                assert _infer(client, "nobody", width).status_code == 404
                assert _infer(client, engine, width + 1).status_code == 400
            answer = _infer(client, engine, width, items=chance.choice([1, 1, 1, 4]))
            assert answer.status_code == 200, answer.text


def _infer(client: httpx.Client, engine: str, width: int, items: int = 1) -> httpx.Response:
    data = [1.0] * items * width
    inputs = [{"name": "x", "shape": [items, width], "datatype": "FP32", "data": data}]
    return client.post(f"/engines/{engine}/infer", json={"inputs": inputs})
