"""Latency under open-loop load: requests come when they come, whether or not the ones before are answered.

The client is bench/open_loop.cpp, whose head says what is measured and how. No tool that Debian or PyPI has
does this: wrk and hey send when an answer has come, and Triton's perf_analyzer counts from when it sent, not
from when it was to send. A client in Python is late itself from some 10,000 requests a second on.
"""

import json
import resource
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from bench.compiled import compiled
from bench.wrk import Request

MOST_CONNECTIONS = 1024
"""Below a server's backlog (uvicorn's is 2048): what is beyond that is tried again by TCP, a second later."""

PATIENCE_S = 30  # for answers, after the last request


@dataclass(frozen=True)
class Result:
    """Of one load; microseconds."""

    sent: int  # of these, each is one of the latencies, an error or lost
    errors: int
    lost: int
    connections: int  # the most at a time
    latencies_us: list[float]  # ascending; each from when its request was due
    late_p50_us: float  # of the client itself: how long after it was due a request was written
    late_p99_us: float

    def percentile(self, share: float) -> float:
        return self.latencies_us[min(len(self.latencies_us) - 1, int(share * len(self.latencies_us)))]

    @property
    def mean_us(self) -> float:
        return sum(self.latencies_us) / len(self.latencies_us)


def run(url: str, request: Request, rate: float, seconds: float) -> Result:
    """`rate` requests a second, for so many seconds, from a client that takes a whole core.

    Ends when all are answered. Raises RuntimeError where none is.
    """
    program = compiled("open_loop.cpp", "open_loop")
    target = urlsplit(url)
    assert target.hostname is not None
    address = socket.gethostbyname(target.hostname)
    # The server has as many files as this process may have, and others to open.
    connections = min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    with TemporaryDirectory(prefix="trtserve-bench-") as folder:
        whole = Path(folder) / "request"
        whole.write_bytes(_request(target.netloc, target.path, request))
        load = [str(whole), str(rate), str(seconds), str(connections), str(PATIENCE_S)]
        command = [str(program), address, str(target.port or 80), *load]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"the client of the open loop failed: {ended.stderr.strip()}")
    told = json.loads(ended.stdout)
    told["latencies_us"].sort()
    result = Result(**told)
    if not result.latencies_us:
        raise RuntimeError(f"of {result.sent} requests to {url}, none was answered with 200")
    return result


def _request(netloc: str, path: str, request: Request) -> bytes:
    body = request.body.read_bytes()
    headers = {**request.headers, "Host": netloc, "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
