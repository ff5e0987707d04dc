"""ResNet-50 on all GPUs of this machine, beside one of them: python -m bench.gpu.two_gpus.

Both ways get the same requests of 32 images in turns: through the scheduler, and over HTTP with inputs and
outputs in shared memory.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import runtime_ext
from bench.gpu import card as cards
from bench.gpu import in_process, model, served
from bench.gpu.in_process import Requests
from bench.gpu.pipeline import BATCH, INSTANCES, compared, read_options

CONNECTIONS = 24
WARM = 64  # requests: each instance has captured its graph by then


@dataclass
class Specs:
    """The plan's input and outputs."""

    input: runtime_ext.TensorSpec
    outputs: Sequence[runtime_ext.TensorSpec]


class ManyRequests(Requests):
    """As many requests under way as keep all instances of two GPUs busy."""

    in_flight = 4 * in_process.IN_FLIGHT


def main() -> None:
    options = read_options(__doc__)
    card = cards.real(None, None)
    if not options.plan.exists():
        model.build(card, options.plan, options.plan.parent)
    runtime = card.runtime
    how: dict[str, Any] = {"instances": INSTANCES, "cuda_graphs": "on"}
    devices = {"cuda:0": 1, "all": 2}
    for device, engine in devices.items():
        wanted = runtime_ext.LoadOptions(name=device, device=device, **how)
        runtime.load(engine, str(options.plan), card.backend, wanted)
    x = np.random.default_rng(0).random((BATCH, *model.IMAGE), np.float32)
    loads = {
        device: ManyRequests(runtime, engine, runtime.engine(engine).inputs[0], x)
        for device, engine in devices.items()
    }
    answers = {}
    for device, load in loads.items():
        load.finish(WARM)
        ended = load.drain()
        found = [np.frombuffer(memoryview(each.outputs[0]), np.float32) for each in ended]
        answers[device] = found[0]
        worst = max(float(np.abs(each - found[0]).max()) for each in found)
        print(f"{device}: {len(ended)} answers, which differ by at most {worst:g}")
    print(f"between the two: {float(np.abs(answers['all'] - answers['cuda:0']).max()):g}")
    rates, share = compared(loads, options)
    print(card.machine, torch.cuda.device_count(), "GPUs", runtime.engine(2).devices)
    print("| device | images/s | of one GPU |\n|---|---|---|")
    print(f"| cuda:0 | {rates['cuda:0']:,.0f} | |\n| all | {rates['all']:,.0f} | {share:.2f} |")
    busy = {device: bytes for device, bytes in runtime.memory(2).items() if device != "cpu"}
    print(f"memory: {busy}")
    described = runtime.engine(1)
    specs = Specs(described.inputs[0], described.outputs)
    runtime.close()
    over_http(card, options, x, specs)


def over_http(card: cards.Card, options: argparse.Namespace, x: np.ndarray, specs: Specs) -> None:
    """Ask two servers, one with the plan on one GPU and one with it on all, and print their table."""
    variants: dict[served.Variant, dict[str, str]] = {
        device: {"device": device, "cuda_graphs": "on"} for device in ("cuda:0", "all")
    }
    with served.serving(card, options.plan, x, specs, connections=CONNECTIONS, variants=variants) as servers:
        one, every = (servers.shared_memory_answer(x, device) for device in variants)
        print(f"over HTTP, between the two: {float(np.abs(one - every).max()):g}")
        rounds = [
            {device: servers.shared_memory(x, device, options.seconds) for device in variants}
            for _ in range(options.rounds)
        ]
    rates = {
        device: statistics.median(each[device]["per_second"] for each in rounds) * BATCH
        for device in variants
    }
    share = statistics.median(each["all"]["per_second"] / each["cuda:0"]["per_second"] for each in rounds)
    print("| device, over HTTP with shared memory | images/s | of one GPU |\n|---|---|---|")
    print(f"| cuda:0 | {rates['cuda:0']:,.0f} | |\n| all | {rates['all']:,.0f} | {share:.2f} |")
    for device in variants:
        told = {name: round(value) for name, value in rounds[-1][device].items()}
        print(f"{device}: {told}")


if __name__ == "__main__":
    main()
