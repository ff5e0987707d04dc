"""What stands between a client and an engine in a fleet costs: python -m bench.fleet, after make ray-test.

A server alone, Envoy before it, and replicas of Ray Serve: ours, which runs the engine in its own process,
and one that asks a server beside it over the loopback interface. Everything takes small binary requests for
y = 2x on the same two cores, in interleaved rounds; the times are those of processors, of all processes of a
way but the load generator's, so that other work on the machine matters less.
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
from starlette.requests import Request
from starlette.responses import Response

from bench import bodies, models, wrk
from tests.e2e.envoy import Envoy
from tests.e2e.server import Server
from tests.ray.cluster import Cluster
from trtserve.ray.shared_plans import publish

CONNECTIONS = (1, 16)
X = np.arange(16, dtype=np.float32).reshape(1, 16)
PATH = "/v2/models/double/infer"
FORWARDED = ("content-type", "inference-header-content-length")


class Forwarding:
    """A replica with a server beside it."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url)

    async def __call__(self, request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name in FORWARDED}
        answer = await self._client.post(PATH, content=await request.body(), headers=headers)
        kept = {name: value for name, value in answer.headers.items() if name in FORWARDED}
        return Response(answer.content, answer.status_code, kept)


class Way(NamedTuple):
    name: str
    load: Callable[[int, int], wrk.Load]  # connections, seconds
    roots: list[psutil.Process]  # of its processes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="duration of a load")
    options = parser.parse_args()
    wrk.check()
    with tempfile.TemporaryDirectory(prefix="trtserve-bench-fleet-") as name, ExitStack() as running:
        ways = _ways(Path(name), running)
        measured: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
        for number in range(-1, options.rounds):  # the first round warms
            for way in ways:
                for connections in CONNECTIONS:
                    before = _cpu_s(way)
                    load = way.load(connections, options.seconds if number >= 0 else 1)
                    assert not load.errors, f"{load.errors} requests failed: {way.name}"
                    cpu_us = (_cpu_s(way) - before) * 1e6 / (load.per_second * options.seconds)
                    if number >= 0:
                        row = load.per_second, load.p50_us, cpu_us
                        measured.setdefault((way.name, connections), []).append(row)
    print("| way | connections | requests/s | p50 us | CPU us each |\n|---|---|---|---|---|")
    for (way_name, connections), rows in measured.items():
        rate, p50, cpu = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"| {way_name} | {connections} | {rate:,.0f} | {p50:,.0f} | {cpu:,.0f} |")


def _ways(folder: Path, running: ExitStack) -> list[Way]:
    from ray import serve  # after tests.ray, which says on which address

    request = bodies.binary(folder, "INPUT0", "OUTPUT0", X)
    plan = models.doubling(folder / "double.onnx", [16])
    server = running.enter_context(Server(folder / "store", "--log-level", "warning", grpc=True))
    server.client.post("/engines", params={"name": "double"}, content=plan.read_bytes()).raise_for_status()
    envoy = running.enter_context(Envoy(folder / "envoy", [server]))
    cluster = running.enter_context(Cluster())
    digest = publish(plan, str(cluster.plans))
    cluster.deploy({"double": {"sha256": digest}}, num_replicas=1)
    forwarding = serve.deployment(Forwarding, max_ongoing_requests=256)
    serve.run(forwarding.bind(str(server.client.base_url)), name="forwarding", route_prefix="/forwarding")

    def by_wrk(url: str) -> Callable[[int, int], wrk.Load]:
        return lambda connections, seconds: wrk.load(url, request, connections, seconds)

    forwarded = str(cluster.client.base_url)
    alone, proxy = psutil.Process(server.process.pid), psutil.Process(envoy.process.pid)
    ray = psutil.Process(cluster.process.pid)
    return [
        Way("a server", by_wrk(f"{server.client.base_url}{PATH}"), [alone]),
        Way(
            "Envoy, a server",
            by_wrk(f"{envoy.client.base_url}{PATH}"),
            [alone, proxy],
        ),
        Way("Ray's proxy, our replica", by_wrk(f"{cluster.client.base_url}{PATH}"), [ray]),
        Way("Ray's proxy, a replica, a server", by_wrk(f"{forwarded}/forwarding"), [ray, alone]),
        Way("a handle, our replica", lambda *asked: _by_handle(cluster, *asked), [ray]),
    ]


def _by_handle(cluster: Cluster, callers: int, seconds: int) -> wrk.Load:
    """Closed-loop load of a handle's calls from threads of this process, whose time does not count."""
    handle = cluster.handle
    took: list[float] = []
    ends = time.perf_counter() + seconds

    def ask() -> None:
        while (began := time.perf_counter()) < ends:
            handle.infer.remote("double", INPUT0=X).result()
            took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=ask) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    p50, p99 = (float(np.percentile(took, share)) * 1e6 for share in (50, 99))
    return wrk.Load(len(took) / seconds, p50, p99, 0)


def _cpu_s(way: Way) -> float:
    """Seconds of processor time of the way's processes until now."""
    total = 0.0
    for root in way.roots:
        for process in [root, *root.children(recursive=True)]:
            times: Any = process.cpu_times()
            total += times.user + times.system
    return total


if __name__ == "__main__":
    main()
