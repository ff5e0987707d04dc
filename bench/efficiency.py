"""The share of OpenVINO's own throughput that arrives over HTTP: both on all cores, with equal threads.

In process: OpenVINO's AsyncInferQueue, compiled for throughput, at its best batch size. Over HTTP: binary
requests at 64 connections; with one item each, which the server joins, and with the best batch each.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from bench import bodies, models, wrk
from bench.serving import add, serving

BATCHES = {"mlp": (1, 64, 256), "lenet": (1, 16, 64), "resnet50": (1, 4)}
CONNECTIONS = 64
LONGER = {"resnet50": 4}  # a factor: answers take seconds, so a short load would miss too many of them


def measure(folder: Path, rounds: int, seconds: int) -> list[dict[str, Any]]:
    wrk.check()
    return [_network(folder, name, rounds, seconds * LONGER.get(name, 1)) for name in BATCHES]


def _network(folder: Path, name: str, rounds: int, seconds: int) -> dict[str, Any]:
    plan = models.network(name, folder / f"{name}.onnx")
    shape = models.NETWORKS[name][1]
    own: dict[int, list[float]] = {batch: [] for batch in BATCHES[name]}
    joined: list[float] = []
    batched: dict[int, list[float]] = {batch: [] for batch in BATCHES[name]}
    for _ in range(rounds):
        for batch, measured in own.items():
            measured.append(_in_process(plan, np.random.rand(batch, *shape).astype(np.float32), seconds))
        with serving(folder) as server:
            url = add(server, name, plan, max_batch_size=max(BATCHES[name]), max_queue_size=4096)
            for batch, over_http in batched.items():
                x = np.random.rand(batch, *shape).astype(np.float32)
                request = bodies.binary(folder, "INPUT0", "OUTPUT0", x)
                wrk.load(url, request, 8, 1)  # warm
                per_second = wrk.load(url, request, CONNECTIONS, seconds).per_second
                over_http.append(per_second * batch)
                if batch == 1:
                    joined.append(per_second)
            server.client.delete(f"/engines/{name}").raise_for_status()
    medians = {batch: statistics.median(measured) for batch, measured in own.items()}
    best = max(medians, key=lambda batch: medians[batch])
    of_best = statistics.median(batched[best])
    return {
        "network": name,
        "best_batch": best,
        "openvino_items_per_second": medians[best],
        "openvino_single_items_per_second": medians[1],
        "http_best_batch_items_per_second": of_best,
        "http_single_items_per_second": statistics.median(joined),
        "efficiency": of_best / medians[best],
        "efficiency_of_singles": statistics.median(joined) / medians[best],
    }


def _in_process(plan: Path, x: np.ndarray, seconds: int) -> float:
    """Return the items per second of OpenVINO alone."""
    properties = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": "f32"}
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(str(plan), "CPU", properties))
    for _ in range(2 * len(queue)):
        queue.start_async({0: x}, share_inputs=True)
    queue.wait_all()
    began, runs = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        queue.start_async({0: x}, share_inputs=True)
        runs += 1
    queue.wait_all()
    return runs * len(x) / (time.perf_counter() - began)
