"""The project's own benchmarks: make bench.

Each part prints a table, and together they write docs/performance.json and docs/performance.svg, after a
comparison with the previous files. Only the ratios within one run measure the software: the rest depends on
the machine.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from bench import (
    comparison,
    efficiency,
    engines,
    frontend,
    grpc_calls,
    latency,
    memory,
    report,
    triton,
    varied,
)

DOCS = Path(__file__).parents[1] / "docs"
PARTS = ("frontend", "varied", "grpc", "efficiency", "latency", "memory", "engines")


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"any of {', '.join(PARTS)}; default: all")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="duration of a load")
    parser.add_argument("--memory-seconds", type=int, default=120)
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=URL", help="see bench/frontend.py"
    )
    parser.add_argument(
        "--triton",
        type=Path,
        metavar="VENV",
        default=os.environ.get("TRITON_VENV") or None,
        help="venv with nvidia-pytriton, whose Triton becomes a peer (TRITON_VENV)",
    )
    parser.add_argument(
        "--out", type=Path, default=DOCS, help="folder of performance.json and performance.svg"
    )
    options = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a part takes minutes: print each at once
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    parts = options.parts or PARTS
    peers = dict(peer.split("=", 1) for peer in options.peer)
    before = report.load(options.out / "performance.json")
    results = dict(before)
    with tempfile.TemporaryDirectory(prefix="trtserve-bench-") as name:
        folder = Path(name)
        if "frontend" in parts:
            with triton.peers(options.triton, folder, frontend.SERVER_CORE) as own:
                given = {**peers, **own}
                results["frontend"] = frontend.measure(folder, options.rounds, options.seconds, given)
            report.frontend(results["frontend"])
        if "varied" in parts:
            with triton.peers(options.triton, folder, frontend.SERVER_CORE) as own:
                own.pop("triton-python", None)  # the slower of the two
                given = {**peers, **own}
                results["varied"] = varied.measure(folder, options.rounds, options.seconds, given)
            report.varied(results["varied"])
        if "grpc" in parts:
            results["grpc"] = grpc_calls.measure(folder, options.rounds, options.seconds, options.triton)
            report.grpc(results["grpc"])
        if "efficiency" in parts:
            results["efficiency"] = efficiency.measure(folder, options.rounds, options.seconds)
            report.efficiency(results["efficiency"])
        if "latency" in parts:
            results["latency"] = latency.measure(folder, options.rounds, options.seconds)
            report.latency(results["latency"])
        if "memory" in parts:
            results["memory"] = memory.measure(folder, options.memory_seconds)
            report.memory(results["memory"])
        if "engines" in parts:
            results["engines"] = engines.measure(folder, options.rounds, options.seconds)
            report.engines(results["engines"])
    losses = comparison.report(before, results)
    report.save(results, options.out / "performance.json")
    report.chart(results, options.out / "performance.svg")
    if losses:
        sys.exit(f"error: {len(losses)} figures are worse than in the previous run (see above)")


if __name__ == "__main__":
    main()
