"""Builds the benchmarks' models as ONNX: y = 2x, and networks with random weights."""

import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnx import TensorProto, helper
from torch import nn


def doubling(path: Path, shape: list[int]) -> Path:
    """Write a model of OUTPUT0 = INPUT0 + INPUT0, FP32 [?, *shape]."""
    dims: list[str | int | None] = ["batch", *shape]
    add = helper.make_node("Add", ["INPUT0", "INPUT0"], ["OUTPUT0"])
    x = helper.make_tensor_value_info("INPUT0", TensorProto.FLOAT, dims)
    y = helper.make_tensor_value_info("OUTPUT0", TensorProto.FLOAT, dims)
    graph = helper.make_graph([add], "doubling", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def mlp() -> nn.Module:
    """Make a tiny network: 16 numbers in, 10 out."""
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))


def lenet() -> nn.Module:
    """Make a modern LeNet-5 for 28 x 28 pixels."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def tower() -> nn.Module:
    """Make a network that computes for milliseconds on 3 KB, so that the rest of a request hardly counts."""
    layers: list[nn.Module] = [nn.Conv2d(1, 64, 3, padding=1), nn.ReLU()]
    for _ in range(6):
        layers += [nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Bottleneck(nn.Module):
    """The block of ResNet-50 (He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition", 2015)."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * 4
        self.way = nn.Sequential(
            nn.Conv2d(channels_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        same = stride == 1 and channels_in == out
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels_in, out, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.way(x) + self.shortcut(x))


def resnet50() -> nn.Module:
    """Make ResNet-50: 3 x 224 x 224 pixels, 25 million weights, 4 billion multiplications."""
    layers: list[nn.Module] = [nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    channels = 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for block in range(blocks):
            layers.append(Bottleneck(channels, width, stride if block == 0 else 1))
            channels = width * 4
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


NETWORKS = {
    "mlp": (mlp, [16]),
    "lenet": (lenet, [1, 28, 28]),
    "tower": (tower, [1, 28, 28]),
    "resnet50": (resnet50, [3, 224, 224]),
}


def network(name: str, path: Path) -> Path:
    """Write a network from INPUT0 to OUTPUT0, FP32 [?, …]."""
    build, shape = NETWORKS[name]
    torch.manual_seed(0)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            build().eval(),
            (torch.rand(2, *shape),),
            str(path),
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=["INPUT0"],
            output_names=["OUTPUT0"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    return path
