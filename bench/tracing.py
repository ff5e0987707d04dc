"""What traces and the access log cost a request: python -m bench.tracing.

Servers that differ in nothing else answer the same small requests, whose heads all differ, in turns. The
figures are requests per second, and the CPU time of the server's process for each, with the export of the
spans to a collector that drops them. The server has one core; wrk and the collector have the other.
"""

import argparse
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import bodies, models, wrk
from bench.access import cpu_s
from bench.serving import add, serving
from tests.fakes.otlp import Receiver

if TYPE_CHECKING:
    from tests.e2e.server import Server

SERVER_CORE, LOAD_CORE = 0, 1
ONE_OF_A_HUNDRED = 1
CASES = {
    "off": [],
    "traces of 1%": ["--trace-rate", "0.01"],
    "traces of all": ["--trace-rate", "1"],
    "access log of 1%": ["--access-log", "sampled", "--access-log-rate", "0.01"],
    "access log of all": ["--access-log", "all"],
}
LOADS = {"the caller decides for 1%": "decided", "the server decides": "undecided"}
LEFT_OUT = {("traces of all", "decided"), ("access log of 1%", "decided"), ("access log of all", "decided")}
"""The caller's word means nothing to the log, and wins over the rate of traces."""


def options(case: str, receiver: Receiver) -> list[str]:
    given = ["--log-level", "info", *CASES[case]]
    return [*given, "--trace-endpoint", receiver.http_endpoint] if case.startswith("traces") else given


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--connections", type=int, default=64)
    given = parser.parse_args()
    wrk.check()
    x = np.arange(16, dtype=np.float32).reshape(1, 16)
    with tempfile.TemporaryDirectory(prefix="trtserve-bench-tracing-") as name, ExitStack() as held:
        folder = Path(name)
        receiver = held.enter_context(Receiver(keeps=False))
        plan = models.doubling(folder / "identity.onnx", [16])
        request = bodies.binary(folder, "INPUT0", "OUTPUT0", x)
        servers: dict[str, tuple[Server, str]] = {}
        for case in CASES:
            server = held.enter_context(serving(folder, SERVER_CORE, *options(case, receiver)))
            servers[case] = server, add(server, "identity", plan, max_batch_size=1)
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for number in range(given.rounds + 1):
            for load in LOADS.values():
                for case, (server, url) in servers.items():
                    if (case, load) in LEFT_OUT:
                        continue
                    before = cpu_s(server)
                    varied = wrk.Varied(request, load, [url], ONE_OF_A_HUNDRED)
                    seen = wrk.load_varied(varied, given.connections, given.seconds, LOAD_CORE)
                    assert seen.errors == 0, case
                    us = (cpu_s(server) - before) / (seen.per_second * given.seconds) * 1e6
                    if number:  # the first warms up
                        found.setdefault((load, case), []).append((seen.per_second, us))
        _print(found)
        print(f"\nThe collector got {receiver.nbytes:,} bytes of spans.")


def _print(found: dict[tuple[str, str], list[tuple[float, float]]]) -> None:
    print("| who decides | server | requests/s | share of off | us of CPU a request | more than off |")
    print("|---|---|---|---|---|---|")
    for who, load in LOADS.items():
        base = found[load, "off"]
        for case in CASES:
            if (load, case) not in found:
                continue
            each = found[load, case]
            # Pairs of one round: what else the machine does changes from round to round.
            share = statistics.median(one[0] / off[0] for one, off in zip(each, base, strict=True))
            more = statistics.median(one[1] - off[1] for one, off in zip(each, base, strict=True))
            per_second, us = (statistics.median(column) for column in zip(*each, strict=True))
            print(
                f"| {who} | {case} | {per_second:,.0f} | {share:.3f} | {us:.2f} | {more:+.2f} |", flush=True
            )


if __name__ == "__main__":
    main()
