"""The plan that the benchmark runs: ResNet-50 in fp16, from ONNX, for batches of 1 to 32 images."""

import logging
import warnings
from pathlib import Path
from typing import Any

import runtime_ext
from bench.gpu.card import Card

INPUT, OUTPUT = "x", "y"
IMAGE = [3, 224, 224]
TOY = "input x FP32 -1 4\nprofile\nrange x 1 4 / 8 4 / 32 4\noutput y scale x 2"


def resnet50(path: Path) -> Path:
    """Write torchvision's ResNet-50 with random weights as ONNX, FP32 [n, 3, 224, 224] to [n, 1000]."""
    import torch
    import torchvision  # type: ignore[import-not-found, unused-ignore]  # only on the GPU machine

    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None).eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # The exporter by tracing: the other one writes operators that TensorRT 8 does not know.
        torch.onnx.export(
            network,
            (torch.randn(2, *IMAGE),),
            str(path),
            dynamo=False,
            opset_version=13,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
        )
    return path


def build(card: Card, plan: Path) -> None:
    """Build the plan, which takes a minute."""
    if card.device == "fake":
        from tests.fakes.tensorrt import toy_plan

        plan.write_bytes(toy_plan(TOY))
        return
    seam: Any = runtime_ext
    runtime: Any = card.runtime
    best, profile = 8, {}
    profile[INPUT] = ([1, *IMAGE], [best, *IMAGE], [32, *IMAGE])
    options = seam.BuildOptions(precision="f16", profiles=[profile], workspace_bytes=1 << 30)
    model = resnet50(plan.with_suffix(".onnx"))
    runtime.build(card.backend, str(model), str(plan), options, seam.BuildProgress())
