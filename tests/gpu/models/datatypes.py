"""Models with one tensor of each datatype that TensorRT takes and gives: numbers, scalars, nothing at all."""

import numpy as np
import onnx
import torch
from onnx import helper

from tests.gpu.models.model import (
    ONNX_TYPES,
    Model,
    Profile,
    Values,
    node,
    onnx_model,
    random,
    value_info,
)

SIZES = (1, 5, 8, 3)
VECTORS: Profile = {"x": ((1, 6), (4, 6), (8, 6))}


def two(dtype: torch.dtype) -> onnx.TensorProto:
    bits = torch.tensor(2, dtype=dtype).reshape(1).view(torch.uint8).numpy()
    return helper.make_tensor("two", ONNX_TYPES[dtype], [], bits.tobytes(), raw=True)


def doubling(dtype: torch.dtype, since: int = 8, precision: str = "auto") -> Model:
    """Return y = 2x in one datatype; exact, as doubling is."""
    name = str(dtype).removeprefix("torch.")
    model = onnx_model(
        f"double_{name}",
        [node("Mul", ["x", "two"], ["y"])],
        [value_info("x", dtype, ["n", 6])],
        [value_info("y", dtype, ["n", 6])],
        {"two": two(dtype)},
    )
    cases = tuple({"x": (random(n, 6, seed=n) * 100).to(dtype)} for n in SIZES)
    return Model(
        model.graph.name,
        model,
        cases,
        lambda given: {"y": given["x"] * 2},
        (VECTORS,),
        precision=precision,
        since=since,
        batched=True,
    )


def booleans() -> Model:
    """Return y = x and not m, z = x xor m."""
    model = onnx_model(
        "booleans",
        [node("Not", ["m"], ["t"]), node("And", ["x", "t"], ["y"]), node("Xor", ["x", "m"], ["z"])],
        [value_info(name, torch.bool, ["n", 6]) for name in ("x", "m")],
        [value_info(name, torch.bool, ["n", 6]) for name in ("y", "z")],
    )
    cases = tuple({"x": random(n, 6, seed=n) > 0, "m": random(n, 6, seed=n + 50) > 0} for n in SIZES)

    def expected(given: Values) -> Values:
        return {"y": given["x"] & ~given["m"], "z": given["x"] ^ given["m"]}

    return Model("booleans", model, cases, expected, ({**VECTORS, "m": VECTORS["x"]},), batched=True)


def bytes_in_and_out() -> Model:
    """Return y = 2x of whole numbers in a byte, which TensorRT only converts."""
    model = onnx_model(
        "uint8",
        [
            node("Cast", ["x"], ["f"], to=ONNX_TYPES[torch.float32]),
            node("Mul", ["f", "two"], ["d"]),
            node("Cast", ["d"], ["y"], to=ONNX_TYPES[torch.uint8]),
        ],
        [value_info("x", torch.uint8, ["n", 6])],
        [value_info("y", torch.uint8, ["n", 6])],
        {"two": np.array(2, np.float32)},
    )
    cases = tuple({"x": (random(n, 6, seed=n).abs() * 30).clamp(0, 127).to(torch.uint8)} for n in SIZES)
    return Model("uint8", model, cases, lambda given: {"y": given["x"] * 2}, (VECTORS,), batched=True)


def quantized_in_and_out() -> Model:
    """Return max(x, 0) of whole numbers that stand for halves."""
    model = onnx_model(
        "int8",
        [
            node("DequantizeLinear", ["x", "scale", "zero"], ["f"]),
            node("Relu", ["f"], ["r"]),
            node("QuantizeLinear", ["r", "scale", "zero"], ["y"]),
        ],
        [value_info("x", torch.int8, ["n", 6])],
        [value_info("y", torch.int8, ["n", 6])],
        {"scale": np.array(0.5, np.float32), "zero": np.array(0, np.int8)},
    )
    cases = tuple({"x": (random(n, 6, seed=n) * 60).clamp(-128, 127).to(torch.int8)} for n in SIZES)
    return Model(
        "int8",
        model,
        cases,
        lambda given: {"y": given["x"].clamp(min=0)},
        (VECTORS,),
        precision="int8",
        batched=True,
    )


def scalars() -> Model:
    """Return y = 2x without dimensions, and the sum of a list times x."""
    model = onnx_model(
        "scalars",
        [
            node("Mul", ["x", "two"], ["y"]),
            node("ReduceSum", ["v"], ["t"], keepdims=0),
            node("Mul", ["t", "x"], ["s"]),
        ],
        [value_info("x", torch.float32, []), value_info("v", torch.float32, ["n"])],
        [value_info("y", torch.float32, []), value_info("s", torch.float32, [])],
        {"two": np.array(2, np.float32)},
    )
    cases = tuple({"x": torch.tensor(1.5 - n), "v": torch.arange(float(n))} for n in SIZES)

    def expected(given: Values) -> Values:
        return {"y": given["x"] * 2, "s": given["v"].sum() * given["x"]}

    return Model("scalars", model, cases, expected, ({"v": ((1,), (4,), (8,))},))


def nothing() -> Model:
    """Return two lists one after the other, and twice the first; either may be empty."""
    model = onnx_model(
        "empty",
        [node("Concat", ["x", "v"], ["both"], axis=0), node("Mul", ["x", "two"], ["y"])],
        [value_info("x", torch.float32, ["n", 4]), value_info("v", torch.float32, ["m", 4])],
        [value_info("both", torch.float32, ["k", 4]), value_info("y", torch.float32, ["n", 4])],
        {"two": np.array(2, np.float32)},
    )
    sizes = ((0, 0), (0, 3), (3, 0), (2, 2), (0, 0), (5, 5))
    cases = tuple({"x": random(n, 4, seed=n), "v": random(m, 4, seed=m + 50)} for n, m in sizes)

    def expected(given: Values) -> Values:
        return {"both": torch.cat([given["x"], given["v"]]), "y": given["x"] * 2}

    any_number = ((0, 4), (2, 4), (5, 4))
    return Model("empty", model, cases, expected, ({"x": any_number, "v": any_number},))


MODELS = (
    doubling(torch.float32),
    doubling(torch.float16, precision="f16"),
    doubling(torch.bfloat16, since=10, precision="bf16"),
    doubling(torch.int32),
    doubling(torch.int64),
    booleans(),
    bytes_in_and_out(),
    quantized_in_and_out(),
    scalars(),
    nothing(),
)
