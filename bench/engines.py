"""What many engines cost: a start, threads, memory, /metrics, and requests.

For each number of engines there is a server with tiny models, whose store is filled first. It is started
anew and timed until it is ready. The requests go to one engine, or to fifty in rotation, on servers that
run at the same time, in interleaved rounds; each share is of the server with one engine.
"""

import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil

from bench import bodies, models, wrk
from tests.e2e.server import Server

COUNTS = (1, 300, 1000)
ROTATION = 50
SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 8
SCRAPES = 5


def measure(folder: Path, rounds: int, seconds: int) -> list[dict[str, Any]]:
    """Return one row for each number of engines: medians over the rounds."""
    wrk.check()
    request = bodies.binary(folder, "INPUT0", "OUTPUT0", np.arange(16, dtype=np.float32).reshape(1, 16))
    stores = {count: _filled(folder, count) for count in COUNTS}
    with ExitStack() as running:
        servers, rows = {}, {}
        for count, store in stores.items():
            server = Server(store, "--log-level", "warning")
            began = time.perf_counter()
            running.enter_context(server)
            server.wait_until_ready()
            rows[count] = {"engines": count, "start_s": time.perf_counter() - began, **_at_rest(server)}
            servers[count] = server
        for server in servers.values():
            _pin(server, SERVER_CORE)
        loads = {
            (count, case): wrk.Varied(request, case, _urls(servers[count], case))
            for count in COUNTS
            for case in ("nothing", "engines")
            if case == "nothing" or count >= ROTATION
        }
        measured: dict[tuple[int, str], list[float]] = {key: [] for key in loads}
        for number in range(-1, rounds):  # the first round warms
            for key, load in loads.items():
                result = wrk.load_varied(load, CONNECTIONS, seconds if number >= 0 else 1, LOAD_CORE)
                assert not result.errors, f"{result.errors} requests failed with {key[0]} engines"
                measured[key] += [result.per_second] if number >= 0 else []
    alone = measured[1, "nothing"]
    for (count, case), each in measured.items():
        share = statistics.median(mine / one for mine, one in zip(each, alone, strict=True))
        rows[count]["one_share" if case == "nothing" else "rotation_share"] = share
    return list(rows.values())


def _filled(folder: Path, count: int) -> Path:
    """A store with this many engines, all unbatched: batches would save work for one engine only."""
    store = folder / f"engines-{count}"
    model = onnx.load(str(models.doubling(folder / "doubling.onnx", [16])))
    with Server(store, "--log-level", "warning", "--trial-load", "off") as server:
        for number in range(count):
            name = model.graph.name = f"tiny-{number}"  # another plan, and so another engine
            asked: dict[str, str | int] = {"name": name, "max_batch_size": 1}
            server.client.post("/engines", params=asked, content=model.SerializeToString()).raise_for_status()
    return store


def _at_rest(server: Server) -> dict[str, float]:
    process = psutil.Process(server.process.pid)
    threads, rss = process.num_threads(), process.memory_info().rss
    times = []
    for _ in range(SCRAPES):
        began = time.perf_counter()
        answer = server.client.get("/metrics").raise_for_status()
        times.append(time.perf_counter() - began)
    return {
        "threads": threads,
        "rss_mb": rss / 1e6,
        "metrics_ms": statistics.median(times) * 1e3,
        "metrics_mb": len(answer.content) / 1e6,
    }


def _pin(server: Server, core: int) -> None:
    for thread in psutil.Process(server.process.pid).threads():
        psutil.Process(thread.id).cpu_affinity([core])


def _urls(server: Server, case: str) -> list[str]:
    names = range(ROTATION) if case == "engines" else range(1)
    base = str(server.client.base_url).rstrip("/")
    return [f"{base}/engines/tiny-{number}/infer" for number in names]
