"""What it costs that requests differ: in their headers, their lengths or their engines.

Real clients put a trace and an ID into each head. Each load is compared with requests that are all the same;
the load generator formats every request in either case, so it costs the same. The server has one core and wrk
the other.
"""

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from bench import bodies, models, wrk
from bench.serving import add, serving

SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = (1, 8, 64)
WARM = 8  # connections of the loads that are not measured
CASES = {
    "nothing": "nothing",
    "headers": "per-request headers",
    "lengths": "300 lengths",
    "engines": "50 engines",
}
PEER_CASES = {"nothing", "headers"}  # the others would take minutes, and a peer has one model
ENGINES = 50


def measure(folder: Path, rounds: int, seconds: int, peers: dict[str, str]) -> list[dict[str, Any]]:
    """Return one row per payload, concurrency, server and case: medians over interleaved rounds."""
    wrk.check()
    small = np.arange(16, dtype=np.float32).reshape(1, 16)
    requests = {
        "16 floats": bodies.binary(folder, "INPUT0", "OUTPUT0", small),
        "16 floats, JSON": bodies.as_json(folder, "INPUT0", "OUTPUT0", small),
    }
    with serving(folder, SERVER_CORE) as server:
        plan = models.doubling(folder / "identity.onnx", [16])
        names = ["identity", *(f"identity-{number}" for number in range(1, ENGINES))]
        for name in names:
            # All unbatched: with one engine, batches would save work that fifty engines cannot save.
            add(server, name, _renamed(plan, folder / f"{name}.onnx", name), max_batch_size=1)
        urls = {"trtserve": str(server.client.base_url).rstrip("/") + "/engines", **peers}
        loads = {
            (payload, connections, name, case): wrk.Varied(
                request,
                case,
                [f"{url}/{model}/infer" for model in (names if case == "engines" else names[:1])],
            )
            for payload, request in requests.items()
            for connections in CONNECTIONS
            for name, url in urls.items()
            for case in CASES
            if name == "trtserve" or case in PEER_CASES
        }
        measured: dict[tuple[str, int, str, str], list[wrk.Load]] = {key: [] for key in loads}
        for (_, connections, _, _), varied in loads.items():
            if connections == WARM:
                wrk.load_varied(varied, connections, 1, LOAD_CORE)
        for _ in range(rounds):
            for key, varied in loads.items():
                measured[key].append(wrk.load_varied(varied, key[1], seconds, LOAD_CORE))
    per_second = {key: statistics.median(load.per_second for load in each) for key, each in measured.items()}
    return [
        {
            "payload": payload,
            "concurrency": connections,
            "server": name,
            "varies": CASES[case],
            "per_second": per_second[payload, connections, name, case],
            "share": per_second[payload, connections, name, case]
            / per_second[payload, connections, name, "nothing"],
            "errors": sum(load.errors for load in measured[payload, connections, name, case]),
        }
        for payload, connections, name, case in loads
    ]


def _renamed(plan: Path, path: Path, name: str) -> Path:
    """A copy of the model that is another plan, and so another engine."""
    model = onnx.load(str(plan))
    model.graph.name = name
    onnx.save(model, str(path))
    return path
