"""Many clients on two engines while a third comes and goes; then: does the server hold more than before?

python -m tests.e2e.soak --clients 200 --seconds 60
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import psutil
from safetensors.numpy import load, save

from tests.e2e.server import Server
from tests.seam.models import scaling
from tests.waiting import wait_until

SAFETENSORS = {"Content-Type": "application/x-safetensors"}
WARM_UP_SHARE = 0.25  # of the time: the first requests of a process fill caches and pools


@dataclass
class Held:
    """What the server process holds."""

    rss_mib: float
    threads: int
    descriptors: int

    @classmethod
    def at_rest_by(cls, pid: int) -> "Held":
        """Once the server has seen its clients leave."""
        process = psutil.Process(pid)
        wait_until(
            lambda: all(c.status == psutil.CONN_LISTEN for c in process.net_connections()), "all have left"
        )
        return cls(process.memory_info().rss / 2**20, process.num_threads(), process.num_fds())


@dataclass
class Report:
    statuses: Counter[str]
    before: Held
    after: Held
    churned: int


def soak(folder: Path, *, clients: int, seconds: float) -> Report:
    """Warm a server up, load it, and compare what it holds at rest before and after."""
    with Server(folder / "store") as server:
        plans = [scaling(folder / f"{factor}.onnx", factor).read_bytes() for factor in (2, 3, 4)]
        for name, plan in zip(("a", "b"), plans, strict=False):
            server.client.post("/engines", params={"name": name}, content=plan).raise_for_status()
        url = str(server.client.base_url)
        asyncio.run(_load(url, plans[2], clients, seconds * WARM_UP_SHARE))
        before = Held.at_rest_by(server.process.pid)
        statuses, churned = asyncio.run(_load(url, plans[2], clients, seconds))
        return Report(statuses, before, Held.at_rest_by(server.process.pid), churned)


async def _load(url: str, plan: bytes, clients: int, seconds: float) -> tuple[Counter[str], int]:
    end = time.monotonic() + seconds
    statuses: Counter[str] = Counter()
    limits = httpx.Limits(max_connections=clients + 1)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        churning = asyncio.create_task(_churn(client, plan, end))
        await asyncio.gather(*(_ask(client, number, end, statuses) for number in range(clients)))
        return statuses, await churning


async def _ask(client: httpx.AsyncClient, number: int, end: float, statuses: Counter[str]) -> None:
    """One client: asks one of the engines again and again, and checks each answer."""
    name, factor = (("a", 2), ("b", 3))[number % 2]
    x = np.full((1 + number % 7, 4), number, np.float32)
    body = save({"x": x})
    while time.monotonic() < end:
        answer = await client.post(f"/engines/{name}/infer", content=body, headers=SAFETENSORS)
        wrong = answer.status_code == 200 and not np.array_equal(load(answer.content)["y"], factor * x)
        statuses["wrong answer" if wrong else str(answer.status_code)] += 1


async def _churn(client: httpx.AsyncClient, plan: bytes, end: float) -> int:
    """Uploads and deletes a third engine; how often."""
    rounds = 0
    while time.monotonic() < end:
        (await client.post("/engines", params={"name": "c"}, content=plan)).raise_for_status()
        (await client.delete("/engines/c")).raise_for_status()
        rounds += 1
    return rounds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trtserve-soak-") as folder:
        report = soak(Path(folder), clients=options.clients, seconds=options.seconds)
    print(f"answers       {dict(report.statuses)}")
    print(f"third engine  uploaded and deleted {report.churned} times")
    print(f"before        {report.before}")
    print(f"after         {report.after}")
    return 0 if set(report.statuses) == {"200"} else 1


if __name__ == "__main__":
    sys.exit(main())
