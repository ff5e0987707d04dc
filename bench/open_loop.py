"""Latency under open-loop load: requests arrive whether or not earlier ones have been answered.

The client is bench/open_loop.cpp, whose first comment explains the measurement. No tool in Debian or PyPI
does this: wrk and hey send after an answer, and Triton's perf_analyzer counts from when it sent, not from
when the request was due. A Python client is itself late from about 10,000 requests per second on.
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
"""Below a server's backlog (uvicorn's is 2048): beyond that, TCP retries a second later."""

PATIENCE_S = 30  # wait for answers after the last request


@dataclass(frozen=True)
class Result:
    """The result of one load; times in microseconds."""

    sent: int  # each is in the latencies, an error or lost
    errors: int
    lost: int
    connections: int  # the most at the same time
    latencies_us: list[float]  # ascending; each from when its request was due
    late_p50_us: float  # the client's own delay: from when a request was due until it was written
    late_p99_us: float

    def percentile(self, share: float) -> float:
        return self.latencies_us[min(len(self.latencies_us) - 1, int(share * len(self.latencies_us)))]

    @property
    def mean_us(self) -> float:
        return sum(self.latencies_us) / len(self.latencies_us)


def run(url: str, request: Request, rate: float, seconds: float) -> Result:
    """Send `rate` requests per second for `seconds`, from a client that needs a whole core.

    Return when all are answered. Raise RuntimeError if none is.
    """
    program = compiled("open_loop.cpp", "open_loop")
    target = urlsplit(url)
    assert target.hostname is not None
    address = socket.gethostbyname(target.hostname)
    # The server has the same limit on open files, and opens others too.
    connections = min(MOST_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    with TemporaryDirectory(prefix="trtserve-bench-") as folder:
        whole = Path(folder) / "request"
        whole.write_bytes(_request(target.netloc, target.path, request))
        load = [str(whole), str(rate), str(seconds), str(connections), str(PATIENCE_S)]
        command = [str(program), address, str(target.port or 80), *load]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise RuntimeError(f"the client of the open loop failed: {ended.stderr.strip()}")
    report = json.loads(ended.stdout)
    report["latencies_us"].sort()
    result = Result(**report)
    if not result.latencies_us:
        raise RuntimeError(f"of {result.sent} requests to {url}, none was answered with 200")
    return result


def _request(netloc: str, path: str, request: Request) -> bytes:
    body = request.body.read_bytes()
    headers = {**request.headers, "Host": netloc, "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body
