"""Closed-loop load from wrk (Debian package wrk): one request under way per connection."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Request:
    body: Path
    headers: dict[str, str]


@dataclass(frozen=True)
class Load:
    """What a load generator counted; the percentiles of wrk are corrected for coordinated omission."""

    per_second: float
    p50_us: float
    p99_us: float
    errors: int


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Run this process and its new children on one core; None: on any."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def check() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("error: wrk, which makes the load, is missing; on Debian: apt-get install wrk")


def load(url: str, request: Request, connections: int, seconds: int, core: int | None = None) -> Load:
    with on_core(core):
        return _load(_variables(request), url, connections, seconds)


@dataclass(frozen=True)
class Varied:
    """Requests that differ in their "headers", "lengths", "engines" (one for each URL) or in "nothing"; in
    their caller's trace ("decided") or in a header that means nothing ("undecided")."""

    request: Request
    varies: str
    urls: list[str]  # of one server
    traced: int = 0  # of a hundred that are "decided"


def load_varied(load: Varied, connections: int, seconds: int, core: int | None = None) -> Load:
    whole = load.request.body.stat().st_size
    json_bytes = load.request.headers.get("Inference-Header-Content-Length")
    variables = _variables(load.request) | {
        "VARY": load.varies,
        "PATHS": "\n".join(urlsplit(url).path for url in load.urls),
        "TRACED": str(load.traced),
        "BINARY": "no" if json_bytes is None else "yes",
        "JSON_BYTES": str(whole) if json_bytes is None else json_bytes,
    }
    with on_core(core):
        return _load(variables, load.urls[0], connections, seconds)


def _variables(request: Request) -> dict[str, str]:
    headers = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
    return {"BODY": str(request.body), "HEADERS": headers}


def _load(variables: dict[str, str], url: str, connections: int, seconds: int) -> Load:
    environment = os.environ | variables
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "60s", "-s", str(SCRIPT), url]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    counted = json.loads(run.stdout.splitlines()[-1])
    per_second = counted["requests"] / counted["us"] * 1e6
    return Load(per_second, counted["p50_us"], counted["p99_us"], counted["errors"])
