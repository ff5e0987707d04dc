"""Small networks with random weights, in float32, float16 and int8, as PyTorch computes them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
import torch
from torch.nn import functional

from tests.gpu.models.model import (
    HALF,
    TF32,
    Model,
    Profile,
    Tolerance,
    Values,
    node,
    onnx_model,
    random,
    value_info,
)

Weights = Mapping[str, torch.Tensor]
BATCHES = (1, 4, 3, 16, 7)


def numbers(weights: Weights) -> dict[str, np.ndarray]:
    return {name: weight.numpy() for name, weight in weights.items()}


def network(  # noqa: PLR0917  every network has these
    name: str,
    nodes: Sequence[onnx.NodeProto],
    weights: Weights,
    sizes: tuple[Sequence[int], Sequence[int]],
    compute: Callable[[torch.Tensor], torch.Tensor],
    tolerance: Tolerance,
    precision: str = "f32",
    constants: Mapping[str, np.ndarray] | None = None,
    profiles: tuple[Profile, ...] | None = None,
) -> Model:
    """Make a network of one input and one output, whose sizes are given without the batch's."""
    given, answered = sizes
    model = onnx_model(
        name,
        nodes,
        [value_info("x", torch.float32, ["n", *given])],
        [value_info("y", torch.float32, ["n", *answered])],
        {**numbers(weights), **(constants or {})},
    )
    cases = tuple({"x": random(n, *given, seed=n)} for n in BATCHES)
    one: Profile = {"x": ((1, *given), (4, *given), (16, *given))}

    def expected(values: Values) -> Values:
        return {"y": compute(values["x"])}

    return Model(
        name, model, cases, expected, profiles or (one,), precision, tolerance=tolerance, batched=True
    )


def mlp(precision: str, tolerance: Tolerance, suffix: str = "") -> Model:
    """Two layers; with the suffix, two profiles."""
    weights = {"w1": random(32, 48, seed=1) * 0.2, "w2": random(48, 7, seed=2) * 0.2}
    nodes = [
        node("MatMul", ["x", "w1"], ["t1"]),
        node("Relu", ["t1"], ["t2"]),
        node("MatMul", ["t2", "w2"], ["y"]),
    ]
    two: tuple[Profile, ...] = (
        {"x": ((1, 32), (1, 32), (4, 32))},
        {"x": ((4, 32), (16, 32), (64, 32))},
    )
    return network(
        f"mlp{suffix}_{precision}",
        nodes,
        weights,
        ((32,), (7,)),
        lambda x: torch.relu(x @ weights["w1"]) @ weights["w2"],
        tolerance,
        precision,
        profiles=two if suffix else None,
    )


def quantized(name: str, of: str, scale: str) -> list[onnx.NodeProto]:
    """Nodes that round `of` to int8 and back, as `name`."""
    return [
        node("QuantizeLinear", [of, scale, "zero"], [f"{name}_q"]),
        node("DequantizeLinear", [f"{name}_q", scale, "zero"], [name]),
    ]


def rounded(x: torch.Tensor, scale: float) -> torch.Tensor:
    return (x / scale).round().clamp(-128, 127) * scale


def scales(**by_name: float) -> dict[str, np.ndarray]:
    constants = {name: np.array(scale, np.float32) for name, scale in by_name.items()}
    return {**constants, "zero": np.array(0, np.int8)}


def mlp_int8() -> Model:
    """Two layers whose weights and inputs are rounded to int8."""
    weights = {"w1": random(32, 48, seed=1) * 0.2, "w2": random(48, 16, seed=2) * 0.2}
    nodes = [
        *quantized("xd", "x", "sx"),
        *quantized("w1d", "w1", "sw"),
        node("MatMul", ["xd", "w1d"], ["t1"]),
        node("Relu", ["t1"], ["t2"]),
        *quantized("t2d", "t2", "st"),
        *quantized("w2d", "w2", "sw"),
        node("MatMul", ["t2d", "w2d"], ["y"]),
    ]

    def compute(x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(rounded(x, 0.03) @ rounded(weights["w1"], 0.008))
        return rounded(hidden, 0.04) @ rounded(weights["w2"], 0.008)

    return network(
        "mlp_int8",
        nodes,
        weights,
        ((32,), (16,)),
        compute,
        Tolerance(2e-2, 6e-2),  # a number in the middle may be rounded the other way
        "int8",
        scales(sx=0.03, sw=0.008, st=0.04),
    )


def convolution(name: str, of: str, weights: str, *, stride: int = 1, kernel: int = 3) -> onnx.NodeProto:
    return node("Conv", [of, weights], [name], strides=[stride, stride], pads=[kernel // 2] * 4)


CNN_WEIGHTS = {
    "c1": random(16, 4, 3, 3, seed=3) * 0.2,
    "c2": random(32, 16, 3, 3, seed=4) * 0.1,
    "w": random(32, 8, seed=5) * 0.2,
}


def cnn(precision: str, tolerance: Tolerance) -> Model:
    """Two convolutions, a pool and a layer, on images of 16 x 16."""
    nodes = [
        convolution("t1", "x", "c1"),
        node("Relu", ["t1"], ["t2"]),
        convolution("t3", "t2", "c2", stride=2),
        node("Relu", ["t3"], ["t4"]),
        node("GlobalAveragePool", ["t4"], ["t5"]),
        node("Flatten", ["t5"], ["t6"], axis=1),
        node("MatMul", ["t6", "w"], ["y"]),
    ]

    def compute(x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(functional.conv2d(x, CNN_WEIGHTS["c1"], padding=1))
        x = torch.relu(functional.conv2d(x, CNN_WEIGHTS["c2"], padding=1, stride=2))
        return x.mean((2, 3)) @ CNN_WEIGHTS["w"]

    return network(f"cnn_{precision}", nodes, CNN_WEIGHTS, ((4, 16, 16), (8,)), compute, tolerance, precision)


def cnn_int8() -> Model:
    """The convolutions of `cnn`, with weights and inputs that are rounded to int8."""
    weights = {name: CNN_WEIGHTS[name] for name in ("c1", "c2")}
    nodes = [
        *quantized("xd", "x", "sx"),
        *quantized("c1d", "c1", "s1"),
        convolution("t1", "xd", "c1d"),
        node("Relu", ["t1"], ["t2"]),
        *quantized("t2d", "t2", "st"),
        *quantized("c2d", "c2", "s2"),
        convolution("y", "t2d", "c2d", stride=2),
    ]

    def compute(x: torch.Tensor) -> torch.Tensor:
        hidden = functional.conv2d(rounded(x, 0.03), rounded(weights["c1"], 0.008), padding=1)
        hidden = rounded(torch.relu(hidden), 0.04)
        return functional.conv2d(hidden, rounded(weights["c2"], 0.004), padding=1, stride=2)

    model = network(
        "cnn_int8",
        nodes,
        weights,
        ((4, 16, 16), (32, 8, 8)),
        compute,
        Tolerance(2e-2, 6e-2),
        "int8",
        scales(sx=0.03, s1=0.008, st=0.04, s2=0.004),
    )
    # The parser of TensorRT 8.5 takes no convolution whose weights are stored as int8.
    return replace(model, since=10)


MODELS = (
    mlp("f32", TF32),
    mlp("f32", TF32, "_2_profiles"),
    mlp("f16", HALF),
    mlp_int8(),
    cnn("f32", TF32),
    cnn("f16", HALF),
    cnn_int8(),
)
