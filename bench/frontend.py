"""The cost of the service with an engine that costs nothing: y = 2x, by payload and concurrency.

The server has one core and wrk the other. `--peer NAME=URL` measures another server of the Open Inference
Protocol beside it, in the same interleaved rounds: URL is its `…/v2/models` and its models are `identity`
(FP32 [?, 16]) and `image` (FP32 [?, 3, 224, 224]), INPUT0 to OUTPUT0.
"""

import statistics
from pathlib import Path
from typing import Any

import numpy as np

from bench import bodies, hand_written, models, wrk
from bench.serving import add, serving

SERVER_CORE, LOAD_CORE = 0, 1
CONCURRENCY = (1, 8, 64)


def measure(folder: Path, rounds: int, seconds: int, peers: dict[str, str]) -> list[dict[str, Any]]:
    """Return one row per payload, concurrency and server: medians over the rounds."""
    wrk.check()
    small = np.arange(16, dtype=np.float32).reshape(1, 16)
    image = ((np.arange(3 * 224 * 224) * 7919 % 256 / 255 - 0.456) / 0.225).astype(np.float32)
    image = image.reshape(1, 3, 224, 224)
    requests = {
        "16 floats": ("identity", bodies.binary(folder, "INPUT0", "OUTPUT0", small)),
        "602 KB": ("image", bodies.binary(folder, "INPUT0", "OUTPUT0", image)),
        "16 floats, JSON": ("identity", bodies.as_json(folder, "INPUT0", "OUTPUT0", small)),
        "1.4 MB JSON": ("image", bodies.as_json(folder, "INPUT0", "OUTPUT0", image)),
    }
    plans = folder / "models"
    plans.mkdir()
    identity = models.doubling(plans / "identity.onnx", [16])
    image_plan = models.doubling(plans / "image.onnx", [3, 224, 224])
    with serving(folder, SERVER_CORE) as server, hand_written.serving(plans, SERVER_CORE) as by_hand:
        add(server, "identity", identity, max_batch_size=64)
        add(server, "image", image_plan, max_batch_size=1)
        own = str(server.client.base_url).rstrip("/") + "/engines"
        urls = {"trtserve": own, hand_written.NAME: by_hand, **peers}
        rows = []
        for payload, (model, request) in requests.items():
            rows += _rows(payload, model, request, urls, rounds=rounds, seconds=seconds)
    return rows


def _rows(
    payload: str, model: str, request: wrk.Request, urls: dict[str, str], *, rounds: int, seconds: int
) -> list[dict[str, Any]]:
    loads: dict[tuple[int, str], list[wrk.Load]] = {}
    for name, url in urls.items():
        wrk.load(f"{url}/{model}/infer", request, 8, 1, LOAD_CORE)  # warm
        loads |= {(connections, name): [] for connections in CONCURRENCY}
    for number in range(rounds):
        order = list(urls.items())[number % len(urls) :] + list(urls.items())[: number % len(urls)]
        for connections in CONCURRENCY:
            for name, url in order:
                load = wrk.load(f"{url}/{model}/infer", request, connections, seconds, LOAD_CORE)
                loads[connections, name].append(load)
    return [
        {
            "payload": payload,
            "concurrency": connections,
            "server": name,
            "per_second": statistics.median(load.per_second for load in measured),
            "p50_us": statistics.median(load.p50_us for load in measured),
            "p99_us": statistics.median(load.p99_us for load in measured),
            "errors": sum(load.errors for load in measured),
        }
        for (connections, name), measured in loads.items()
    ]
