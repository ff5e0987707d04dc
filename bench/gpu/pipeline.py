"""A module around ResNet-50 on a GPU, beside the engine alone: python -m bench.gpu.pipeline.

The module normalises images, calls the engine, and returns probabilities and the five best classes. Both get
the same requests of 32 images through the scheduler, in turns; then a profile shows how much of the copies'
time passes while kernels run.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import runtime_ext
from bench.gpu import card as cards
from bench.gpu import model
from bench.gpu.in_process import Requests

BATCH = 32
INSTANCES = 2
ENGINE, MODULE = 1, 2
WARM = 24  # requests: each instance has captured its graph by then
PROFILED = 40
FP32_IMAGES = {"name": "x", "datatype": "FP32", "shape": [-1, *model.IMAGE]}

Interval = tuple[float, float]


class Pipeline(torch.nn.Module):
    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1))
        self.register_buffer("scale", 1 / torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = (x - self.mean) * self.scale
        y = torch.ops.trt.execute_engine_list(torch.ops.trt.engine("resnet50"), [x])[0]
        best = torch.topk(torch.softmax(y, 1), 5)
        return best.values, best.indices


def write_module(path: Path) -> Path:
    document = {
        "inputs": [FP32_IMAGES],
        "outputs": [
            {"name": "p", "datatype": "FP32", "shape": [-1, 5]},
            {"name": "best", "datatype": "INT64", "shape": [-1, 5]},
        ],
    }
    extra = {"trtserve.json": json.dumps(document)}
    torch.jit.save(torch.jit.script(Pipeline()), str(path), _extra_files=extra)
    return path


def union(intervals: Sequence[Interval]) -> list[Interval]:
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def shared(one: Sequence[Interval], other: Sequence[Interval]) -> float:
    """How long both last at the same time."""
    return sum(
        max(0.0, min(a_end, b_end) - max(a, b)) for a, a_end in union(one) for b, b_end in union(other)
    )


def profiled(requests: Requests) -> dict[str, float]:
    """Milliseconds of copies, of kernels, and of both at once, for PROFILED requests."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        requests.finish(PROFILED)
        requests.drain()
        torch.accelerator.synchronize()
    spans: dict[str, list[Interval]] = {"copies": [], "kernels": []}
    for event in profile.events():
        kind = "copies" if event.name.startswith("Memcpy") else "kernels"
        if not event.name.startswith("Memset"):
            spans[kind].append((event.time_range.start / 1e3, event.time_range.end / 1e3))
    lengths = {kind: sum(end - begin for begin, end in union(found)) for kind, found in spans.items()}
    return lengths | {"both": shared(spans["copies"], spans["kernels"])}


def rate(requests: Requests, seconds: float) -> float:
    """Images per second."""
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        done += requests.finish(1)
    elapsed = time.perf_counter() - began
    requests.drain()
    return done * BATCH / elapsed


def read_options(description: str | None) -> argparse.Namespace:
    """The options of a benchmark that compares two ways to serve a plan of ResNet-50."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--plan", type=Path, required=True, help="ResNet-50; it is built if it does not exist"
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    return parser.parse_args()


def compared(loads: Mapping[str, Requests], options: argparse.Namespace) -> tuple[dict[str, float], float]:
    """Images per second of two ways, measured in turns, and the second's share of the first's: medians."""
    rounds = [
        {way: rate(load, options.seconds) for way, load in loads.items()} for _ in range(options.rounds)
    ]
    rates = {way: statistics.median(each[way] for each in rounds) for way in loads}
    first, second = loads
    return rates, statistics.median(each[second] / each[first] for each in rounds)


def main() -> None:
    options = read_options(__doc__)
    card = cards.real(None, None)
    with tempfile.TemporaryDirectory(prefix="trtserve-bench-") as name:
        folder = Path(name)
        if not options.plan.exists():
            model.build(card, options.plan, folder)
        how: dict[str, Any] = {"instances": INSTANCES, "cuda_graphs": "on", "device": "cuda:0"}
        runtime = card.runtime
        runtime.load(ENGINE, str(options.plan), card.backend, runtime_ext.LoadOptions(name="resnet50", **how))
        wanted = runtime_ext.LoadOptions(name="pipeline", engines={"resnet50": ENGINE}, **how)
        runtime.load(MODULE, str(write_module(folder / "pipeline.pt")), "torchscript", wanted)
    x = np.random.default_rng(0).random((BATCH, *model.IMAGE), np.float32)
    loads = {
        "engine": Requests(runtime, ENGINE, runtime.engine(ENGINE).inputs[0], x),
        "pipeline": Requests(runtime, MODULE, runtime.engine(MODULE).inputs[0], x),
    }
    for load in loads.values():
        load.finish(WARM)
        load.drain()
    rates, share = compared(loads, options)
    print(card.machine)
    print("| images of 32 a request | images/s | of the engine |\n|---|---|---|")
    print(f"| engine alone | {rates['engine']:,.0f} | |")
    print(f"| pipeline with it | {rates['pipeline']:,.0f} | {share:.3f} |")
    found = profiled(loads["pipeline"])
    print(
        f"{PROFILED} requests of the pipeline: copies {found['copies']:.1f} ms, "
        f"kernels {found['kernels']:.1f} ms, at the same time {found['both']:.1f} ms"
    )
    runtime.close()


if __name__ == "__main__":
    main()
