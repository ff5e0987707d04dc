"""The time that each step of a request adds to the engine's own time.

One model with fixed inputs, one request after the other, on
  openvino   an InferRequest of OpenVINO's own Python package: the floor
  module     the TorchScript wrapper, called from Python
  submit     Runtime.submit, the queue, an instance, the completion's eventfd
  http       POST /engines/{id}/infer in binary form over one kept connection

Every round times each of them in turn; the table has the medians of the rounds, and their ratio to the floor.

make bench-steps ARGS="--rounds 9 --requests 500"
"""

import argparse
import http.client
import json
import select
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import torch

import runtime_ext
from tests.e2e.server import Server
from tests.seam.models import doubling

Step = Callable[[], object]

SHAPES = {"16 floats": (4, 4), "602 KB": (37632, 4)}
ENGINE = 1


def openvino_step(model: Path, x: np.ndarray) -> Step:
    compiled = openvino.Core().compile_model(str(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    return lambda: request.infer({0: x}, share_inputs=True, share_outputs=True)


def module_step(runtime: runtime_ext.Runtime, x: np.ndarray) -> Step:
    module = runtime_ext.module(runtime, ENGINE)
    tensor = torch.from_numpy(x)
    return lambda: module(tensor)


def submit_step(runtime: runtime_ext.Runtime, x: np.ndarray) -> Step:
    prepared = runtime.prepare(ENGINE, [("x", "FP32", list(x.shape))])
    fd = runtime.completion_fd()

    def step() -> object:
        runtime.submit(prepared, (x,))
        select.select([fd], [], [])
        return runtime.take_completions()

    return step


def http_step(server: Server, x: np.ndarray) -> Step:
    """Make a step with the standard library's client, the cheapest in Python."""
    size = {"binary_data_size": x.nbytes}
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "parameters": size}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body = header + x.tobytes()
    headers = {"Inference-Header-Content-Length": str(len(header))}
    url = server.client.base_url
    connection = http.client.HTTPConnection(url.host, url.port)

    def step() -> object:
        connection.request("POST", "/engines/double/infer", body, headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, content
        return content

    return step


def microseconds(step: Step, requests: int) -> float:
    began = time.perf_counter()
    for _ in range(requests):
        step()
    return (time.perf_counter() - began) / requests * 1e6


def measure(steps: dict[str, Step], rounds: int, requests: int) -> dict[str, float]:
    """Return the median microseconds per request, by step."""
    for step in steps.values():
        microseconds(step, requests // 5)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            times[name].append(microseconds(step, requests))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trtserve-bench-") as folder:
        model = doubling(Path(folder) / "double.onnx")
        runtime = runtime_ext.create_runtime()
        runtime.load(ENGINE, str(model), "openvino", runtime_ext.LoadOptions())
        with Server(Path(folder) / "store") as server:
            plan = model.read_bytes()
            server.client.post("/engines", params={"name": "double"}, content=plan).raise_for_status()
            print(f"{'':12}{'step':12}{'us a request':>14}{'x openvino':>12}")
            for label, shape in SHAPES.items():
                x = np.ones(shape, np.float32)
                steps = {
                    "openvino": openvino_step(model, x),
                    "module": module_step(runtime, x),
                    "submit": submit_step(runtime, x),
                    "http": http_step(server, x),
                }
                medians = measure(steps, options.rounds, options.requests)
                for name, median in medians.items():
                    print(f"{label:12}{name:12}{median:14.0f}{median / medians['openvino']:12.2f}")
        runtime.close()


if __name__ == "__main__":
    main()
