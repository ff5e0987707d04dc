"""Run many clients on two engines while a third comes and goes; then compare the server's resources.

python -m tests.e2e.soak --clients 200 --seconds 60
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import psutil
from safetensors.numpy import load as decode
from safetensors.numpy import save

from tests.e2e.server import Server
from tests.seam.models import scaling
from tests.waiting import wait_until

SAFETENSORS = {"Content-Type": "application/x-safetensors"}
# A process fills caches and pools with its first requests and uploads.
WARM_UP_REQUESTS = 2000
WARM_UP_ROUNDS = 20


@dataclass
class Held:
    """The resources that the server process holds."""

    rss_mib: float
    threads: int
    descriptors: int

    @classmethod
    def at_rest_by(cls, pid: int) -> "Held":
        """Measure once the server has seen its clients leave."""
        process = psutil.Process(pid)
        wait_until(
            lambda: all(c.status == psutil.CONN_LISTEN for c in process.net_connections()),
            "the end of all connections",
        )
        return cls(process.memory_info().rss / 2**20, process.num_threads(), process.num_fds())


@dataclass
class Load:
    """Counts of answers, and of the third engine's uploads."""

    statuses: Counter[str] = field(default_factory=Counter)
    churned: int = 0

    def is_warm(self) -> bool:
        return self.statuses.total() >= WARM_UP_REQUESTS and self.churned >= WARM_UP_ROUNDS


@dataclass
class Report:
    load: Load
    before: Held
    after: Held


def soak(folder: Path, *, clients: int, seconds: float) -> Report:
    """Warm a server up, put it under load, and compare its resources at rest before and after."""
    with Server(folder / "store") as server:
        plans = [scaling(folder / f"{factor}.onnx", factor).read_bytes() for factor in (2, 3, 4)]
        for name, plan in zip(("a", "b"), plans, strict=False):
            server.client.post("/engines", params={"name": name}, content=plan).raise_for_status()
        url = str(server.client.base_url)
        asyncio.run(_load(url, plans[2], clients, Load.is_warm))
        before = Held.at_rest_by(server.process.pid)
        end = time.monotonic() + seconds
        load = asyncio.run(_load(url, plans[2], clients, lambda _: time.monotonic() >= end))
        return Report(load, before, Held.at_rest_by(server.process.pid))


async def _load(url: str, plan: bytes, clients: int, over: Callable[[Load], bool]) -> Load:
    load = Load()
    limits = httpx.Limits(max_connections=clients + 1)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        await asyncio.gather(
            _churn(client, plan, load, over), *(_ask(client, number, load, over) for number in range(clients))
        )
    return load


async def _ask(client: httpx.AsyncClient, number: int, load: Load, over: Callable[[Load], bool]) -> None:
    """Run one client: call one engine again and again, and check each answer."""
    name, factor = (("a", 2), ("b", 3))[number % 2]
    x = np.full((1 + number % 7, 4), number, np.float32)
    body = save({"x": x})
    while not over(load):
        answer = await client.post(f"/engines/{name}/infer", content=body, headers=SAFETENSORS)
        wrong = answer.status_code == 200 and not np.array_equal(decode(answer.content)["y"], factor * x)
        load.statuses["wrong answer" if wrong else str(answer.status_code)] += 1


async def _churn(client: httpx.AsyncClient, plan: bytes, load: Load, over: Callable[[Load], bool]) -> None:
    """Upload and delete a third engine in a loop."""
    while not over(load):
        (await client.post("/engines", params={"name": "c"}, content=plan)).raise_for_status()
        (await client.delete("/engines/c")).raise_for_status()
        load.churned += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trtserve-soak-") as folder:
        report = soak(Path(folder), clients=options.clients, seconds=options.seconds)
    print(f"answers       {dict(report.load.statuses)}")
    print(f"third engine  uploaded and deleted {report.load.churned} times")
    print(f"before        {report.before}")
    print(f"after         {report.after}")
    return 0 if set(report.load.statuses) == {"200"} else 1


if __name__ == "__main__":
    sys.exit(main())
