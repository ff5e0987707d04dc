"""Blocks of larger networks: a residual block, attention, and a recurrent layer, as PyTorch computes them."""

import numpy as np
import torch
from torch.nn import functional

from tests.gpu.models.model import HALF, TF32, Model, Profile, Values, node, onnx_model, random, value_info
from tests.gpu.models.networks import convolution, network


def residual(precision: str) -> Model:
    """A block of ResNet with a stride: two normalized convolutions beside a projection."""
    weights = {
        "c1": random(16, 8, 3, 3, seed=11) * 0.1,
        "c2": random(16, 16, 3, 3, seed=12) * 0.1,
        "p": random(16, 8, 1, 1, seed=13) * 0.3,
        "scale": random(16, seed=14).abs() + 0.5,
        "bias": random(16, seed=15) * 0.1,
        "mean": random(16, seed=16) * 0.1,
        "var": random(16, seed=17).abs() + 0.5,
    }
    normal = ["scale", "bias", "mean", "var"]
    nodes = [
        convolution("t1", "x", "c1", stride=2),
        node("BatchNormalization", ["t1", *normal], ["t2"]),
        node("Relu", ["t2"], ["t3"]),
        convolution("t4", "t3", "c2"),
        node("BatchNormalization", ["t4", *normal], ["t5"]),
        convolution("t6", "x", "p", stride=2, kernel=1),
        node("Add", ["t5", "t6"], ["t7"]),
        node("Relu", ["t7"], ["y"]),
    ]

    def normalized(x: torch.Tensor) -> torch.Tensor:
        return functional.batch_norm(x, weights["mean"], weights["var"], weights["scale"], weights["bias"])

    def compute(x: torch.Tensor) -> torch.Tensor:
        beside = functional.conv2d(x, weights["p"], stride=2)
        x = torch.relu(normalized(functional.conv2d(x, weights["c1"], stride=2, padding=1)))
        return torch.relu(normalized(functional.conv2d(x, weights["c2"], padding=1)) + beside)

    tolerance = TF32 if precision == "f32" else HALF
    sizes = ((8, 16, 16), (16, 8, 8))
    return network(f"residual_{precision}", nodes, weights, sizes, compute, tolerance, precision)


def attention() -> Model:
    """One head of attention over a free number of tokens, with a free batch."""
    width = 32
    weights = {name: random(width, width, seed=20 + i) * 0.2 for i, name in enumerate(("wq", "wk", "wv"))}
    model = onnx_model(
        "attention",
        [
            *(node("MatMul", ["x", f"w{name}"], [name]) for name in "qkv"),
            node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
            node("MatMul", ["q", "kt"], ["t1"]),
            node("Mul", ["t1", "scale"], ["t2"]),
            node("Softmax", ["t2"], ["t3"], axis=-1),
            node("MatMul", ["t3", "v"], ["y"]),
        ],
        [value_info("x", torch.float32, ["n", "t", width])],
        [value_info("y", torch.float32, ["n", "t", width])],
        {**{name: w.numpy() for name, w in weights.items()}, "scale": np.array(width**-0.5, np.float32)},
    )
    shapes = ((1, 1), (4, 9), (2, 32), (1, 17), (8, 5))
    cases = tuple({"x": random(n, t, width, seed=t)} for n, t in shapes)

    def expected(given: Values) -> Values:
        q, k, v = (given["x"] @ weights[f"w{name}"] for name in "qkv")
        return {"y": functional.scaled_dot_product_attention(q, k, v)}

    profile: Profile = {"x": ((1, 1, width), (4, 16, width), (8, 32, width))}
    # TensorRT 8.5 has no kernel of its own for it.
    return Model(
        "attention", model, cases, expected, (profile,), "f32", tolerance=TF32, since=10, batched=True
    )


def recurrent() -> Model:
    """An LSTM over eight steps with a free batch; the sequences and the last state."""
    width, hidden, steps = 8, 16, 8
    torch.manual_seed(30)
    lstm = torch.nn.LSTM(width, hidden).requires_grad_(requires_grad=False)

    def onnx_order(rows: torch.Tensor) -> torch.Tensor:
        """ONNX has the gates in the order input, output, forget, cell; PyTorch has the output last."""
        i, f, c, o = rows.chunk(4)
        return torch.cat([i, o, f, c]).unsqueeze(0)

    weights = {
        "w": onnx_order(lstm.weight_ih_l0),
        "r": onnx_order(lstm.weight_hh_l0),
        "b": torch.cat([onnx_order(lstm.bias_ih_l0), onnx_order(lstm.bias_hh_l0)], 1),
    }
    model = onnx_model(
        "lstm",
        [
            node("LSTM", ["x", "w", "r", "b"], ["t", "h"], hidden_size=hidden),
            node("Squeeze", ["t", "axis"], ["y"]),
        ],
        [value_info("x", torch.float32, [steps, "n", width])],
        [
            value_info("y", torch.float32, [steps, "n", hidden]),
            value_info("h", torch.float32, [1, "n", hidden]),
        ],
        {**{name: w.numpy() for name, w in weights.items()}, "axis": np.array([1], np.int64)},
    )
    cases = tuple({"x": random(steps, n, width, seed=n)} for n in (1, 4, 3, 8))

    def expected(given: Values) -> Values:
        y, (h, _) = lstm(given["x"])
        return {"y": y, "h": h}

    profile: Profile = {"x": ((steps, 1, width), (steps, 4, width), (steps, 8, width))}
    # TensorRT 8.5 has no kernel of its own for it.
    return Model("lstm", model, cases, expected, (profile,), "f32", tolerance=TF32, since=10)


MODELS = (residual("f32"), residual("f16"), attention(), recurrent())
