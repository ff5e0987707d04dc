"""Figures of TensorRT on this machine's GPU: make bench-gpu.

Measures the bare enqueueV3 loop, the operator and the module in torch, the scheduler, and HTTP with and
without shared memory, for ResNet-50 in fp16 at batch 1, 8 and 32 with CUDA graphs off and on. Writes
performance-gpu.json and .md, and the chart if matplotlib is installed. --from makes all of these, and the
section of docs/performance.md, from the JSON of another machine.
"""

import argparse
import dataclasses
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench import report
from bench.gpu import card as cards
from bench.gpu import measure, model, section, targets
from bench.gpu.in_process import InProcess
from bench.gpu.raw import Raw
from bench.gpu.served import serving

DOCS = Path(__file__).resolve().parents[2] / "docs"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="make bench-gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="duration of a load; a round has 50")
    parser.add_argument("--connections", type=int, default=8, help="over HTTP")
    parser.add_argument("--plan", type=Path, help="a plan file; it is built there first if it does not exist")
    parser.add_argument("--backend", help="such as tensorrt8; default: the newest one that can be used")
    parser.add_argument("--library", type=Path, help="TensorRT's runtime library; default: searched for")
    parser.add_argument("--toy", action="store_true", help="run on the tests' fakes; the times mean nothing")
    parser.add_argument("--from", type=Path, dest="results", help="results, in place of measuring")
    parser.add_argument("--out", type=Path, default=None, help="folder of the files; default: docs")
    options = parser.parse_args()
    if options.toy and options.out is None:
        parser.error("--toy needs --out: its times do not belong into docs")
    out = options.out or DOCS
    out.mkdir(parents=True, exist_ok=True)
    results = report.load(options.results) if options.results else _measured(options)
    report.save(results, out / "performance-gpu.json")
    text = section.written(results)
    (out / "performance-gpu.md").write_text(text)
    print(text)
    if importlib.util.find_spec("matplotlib"):
        report.gpu_chart(results, out / "performance-gpu.svg")
    if options.out is None:
        section.replace(out / "performance.md", text)
    if results["failures"]:
        raise SystemExit(f"error: {len(results['failures'])} measurements failed; the report names them")


def _measured(options: argparse.Namespace) -> dict[str, Any]:
    card = cards.toy() if options.toy else cards.real(options.backend, options.library)
    with tempfile.TemporaryDirectory(prefix="trtserve-bench-") as name:
        folder = Path(name)
        plan = options.plan or folder / "resnet50.plan"
        if not plan.exists():
            print(f"building {plan}", flush=True)
            model.build(card, plan)
        in_process = InProcess(card, plan)
        failed: measure.Failures = {}
        shape = (in_process.input.shape or [])[1:]
        x = np.random.default_rng(0).standard_normal((measure.BATCHES[-1], *shape)).astype(np.float32)
        with (
            Raw(card, plan, folder) as raw,
            serving(card, plan, x, in_process, connections=options.connections) as served,
        ):
            off = measure.check_answers(raw, measure.answerers(in_process, served), x, failed)
            ways = measure.ways(raw, in_process, served)
            rows = measure.measure(ways, x, failed, rounds=options.rounds, seconds=options.seconds)
        targets.add_shares(rows)
        judged = targets.judge(rows)
        profiles = [_profile(target, rows, in_process, x) for target in judged if not target.met]
        card.runtime.close()
    return {
        "machine": card.machine,
        "toy": options.toy,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "connections": options.connections,
        "greatest_difference": off,
        "failures": [
            {"way": way, "batch": batch, "graphs": graphs, "why": why}
            for (way, batch, graphs), why in failed.items()
        ],
        "rows": rows,
        "targets": [dataclasses.asdict(target) | {"shown": target.shown} for target in judged],
        "profiles": profiles,
    }


def _profile(target: targets.Target, rows: list[measure.Row], in_process: InProcess, x: np.ndarray) -> str:
    text = targets.explain(target, rows)
    if target.way != measure.OPERATOR or target.reached is None:
        return text
    try:
        return f"{text}\n{in_process.profile(x[: target.batch], target.graphs)}"
    except RuntimeError as failure:
        return f"{text}\ntorch's profiler failed: {failure}"


if __name__ == "__main__":
    main()
