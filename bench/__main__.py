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
from typing import Any

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
    options.out.mkdir(parents=True, exist_ok=True)  # first: a measurement takes minutes
    before = report.load(options.out / "performance.json")
    results = dict(before)
    for part in parts:
        with tempfile.TemporaryDirectory(prefix=f"trtserve-bench-{part}-") as name:
            results[part] = measure(part, Path(name), options)
        getattr(report, part)(results[part])
        report.save(results, options.out / "performance.json")  # a later part may fail
    losses = comparison.report(before, results)
    report.chart(results, options.out / "performance.svg")
    if losses:
        sys.exit(f"error: {len(losses)} figures are worse than in the previous run (see above)")


def measure(part: str, folder: Path, options: argparse.Namespace) -> Any:
    """Run one part, whose servers have their files in `folder`."""
    load = (folder, options.rounds, options.seconds)
    match part:
        case "frontend" | "varied":
            with triton.peers(options.triton, folder, frontend.SERVER_CORE) as own:
                if part == "varied":
                    own.pop("triton-python", None)  # the slower of the two
                given = dict(peer.split("=", 1) for peer in options.peer) | own
                return (frontend if part == "frontend" else varied).measure(*load, given)
        case "grpc":
            return grpc_calls.measure(*load, options.triton)
        case "memory":
            return memory.measure(folder, options.memory_seconds)
        case _:
            timed = {"efficiency": efficiency, "latency": latency, "engines": engines}
            return timed[part].measure(*load)


if __name__ == "__main__":
    main()
