"""Latency under open-loop load at a share of the capacity, for several queue delays.

It also checks that the queue time in the metrics matches what clients see: with one instance and no batches,
requests differ from those on an idle server only by their queue time, so the extra latency is that time, seen
from outside.

The server has one core and the client the other, so that neither suffers from the other's stalls. Each load
runs in several rounds, and the one with the median tail counts: on a shared machine one round says little.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from bench import bodies, models, open_loop, pauses, wrk
from bench.frontend import LOAD_CORE, SERVER_CORE
from bench.serving import add, serving
from tests.e2e.server import Server

SHARE = 0.7
DELAYS: tuple[str, ...] = ("0", "500", "2000", "auto")
SHARES = (0.2, 0.5, 0.7, 0.9)
QUEUEING = (0.7, 0.9)  # shares at which there is a queue
IDLE = 0.05  # of the capacity: requests hardly ever overlap


def measure(folder: Path, rounds: int, seconds: int) -> dict[str, Any]:
    wrk.check()
    return _latency(folder, rounds, seconds) | {"queue_time_agreement": _agreement(folder, 2 * seconds)}


def _latency(folder: Path, rounds: int, seconds: int) -> dict[str, Any]:
    """Measure LeNet with requests of one item, joined up to 64."""
    plan = models.network("lenet", folder / "lenet.onnx")
    request = bodies.binary(folder, "INPUT0", "OUTPUT0", np.random.rand(1, 1, 28, 28).astype(np.float32))
    curves: list[dict[str, Any]] = []
    collections: list[pauses.Pause] = []
    capacity = 0.0
    for delay in DELAYS:
        file = folder / f"collections-{delay}.json"
        with serving(folder, SERVER_CORE, command=pauses.command(file)) as server:
            url = add(server, "lenet", plan, max_batch_size=64, max_queue_delay_us=delay, max_queue_size=8192)
            wrk.load(url, request, 8, 1, LOAD_CORE)  # warm
            capacity = capacity or wrk.load(url, request, 64, seconds, LOAD_CORE).per_second
            began = time.monotonic_ns()
            measured: list[list[dict[str, Any]]] = [
                [_at(server, url, request, capacity * share, seconds) for share in SHARES]
                for _ in range(rounds)
            ]
            ended = time.monotonic_ns()
        for share, rows in zip(SHARES, zip(*measured, strict=True), strict=True):
            median = sorted(rows, key=lambda row: row["tail"])[len(rows) // 2]
            curves.append({"delay_us": delay, "share": share, **median})
        collections += [pause for pause in pauses.read(file) if began <= pause.began_ns < ended]
    at_share = next(row for row in curves if row["delay_us"] == "0" and row["share"] == SHARE)
    return {
        "capacity_per_second": capacity,
        "at_70_percent": at_share,
        "curves": curves,
        "collections": pauses.summary(collections),
    }


def _agreement(folder: Path, seconds: int) -> list[dict[str, Any]]:
    """Measure an engine that takes milliseconds, so that requests mostly wait for it."""
    plan = models.network("tower", folder / "tower.onnx")
    request = bodies.binary(folder, "INPUT0", "OUTPUT0", np.random.rand(1, 1, 28, 28).astype(np.float32))
    with serving(folder, SERVER_CORE) as server:
        url = add(server, "tower", plan, instances=1, max_batch_size=1, max_queue_size=8192)
        capacity = wrk.load(url, request, 8, seconds, LOAD_CORE).per_second
        idle = _at(server, url, request, capacity * IDLE, seconds)
        rows = [_at(server, url, request, capacity * share, seconds) | {"share": share} for share in QUEUEING]
        server.client.delete("/engines/tower").raise_for_status()
    for row in rows:
        row["idle_mean_us"], row["idle_compute_us"] = idle["mean_us"], idle["compute_us"]
        row["client_queue_us"] = row["mean_us"] - idle["mean_us"]
        row["metrics_queue_us"] = row["queue_us"] - idle["queue_us"]
        row["agreement"] = row["metrics_queue_us"] / row["client_queue_us"]
    return rows


def _at(server: Server, url: str, request: wrk.Request, rate: float, seconds: int) -> dict[str, Any]:
    before = _sums(server)
    with wrk.on_core(LOAD_CORE):
        result = open_loop.run(url, request, rate, seconds)
    after = _sums(server)
    count = after["count"] - before["count"]
    executions = after["executions"] - before["executions"]
    return {
        "rate_per_second": rate,
        "sent": result.sent,
        "errors": result.errors,
        "lost": result.lost,
        "p50_us": result.percentile(0.5),
        "p99_us": result.percentile(0.99),
        "tail": result.percentile(0.99) / result.percentile(0.5),
        "mean_us": result.mean_us,
        "connections": result.connections,
        "client_late_p50_us": result.late_p50_us,
        "client_late_p99_us": result.late_p99_us,
        "queue_us": (after["queue"] - before["queue"]) / count * 1e6,
        "compute_us": (after["compute"] - before["compute"]) / count * 1e6,
        "items_per_execution": count / executions,
    }


def _sums(server: Server) -> dict[str, float]:
    """Return totals of all requests so far: seconds in the queue and in execution, and their number."""
    wanted = {
        "trtserve_request_queue_seconds_sum": "queue",
        "trtserve_request_compute_seconds_sum": "compute",
        "trtserve_request_compute_seconds_count": "count",
        "trtserve_batch_items_count": "executions",
    }
    text = server.client.get("/metrics").text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    sums = dict.fromkeys(wanted.values(), 0.0)
    for sample in samples:
        if sample.name in wanted:
            sums[wanted[sample.name]] += sample.value
    return sums
