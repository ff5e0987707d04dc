"""Models whose shapes a request decides: free dimensions, profiles, shapes as values, and as results."""

import numpy as np
import torch

from tests.gpu.models.model import ONNX_TYPES, Model, Profile, Values, node, onnx_model, random, value_info


def free_rank(rank: int) -> Model:
    """Return y = 2x + 1 where every dimension is free."""
    dims = [f"d{i}" for i in range(rank)]
    model = onnx_model(
        f"rank_{rank}",
        [node("Mul", ["x", "two"], ["t"]), node("Add", ["t", "one"], ["y"])],
        [value_info("x", torch.float32, dims)],
        [value_info("y", torch.float32, dims)],
        {"two": np.array(2, np.float32), "one": np.array(1, np.float32)},
    )
    shapes = ([1] * rank, [5] * rank, [2 + i for i in range(rank)], [5 - i for i in range(rank)])
    cases = tuple({"x": torch.arange(float(np.prod(shape))).reshape(shape)} for shape in shapes)
    profile: Profile = {"x": ([1] * rank, [3] * rank, [6] * rank)}
    return Model(model.graph.name, model, cases, lambda given: {"y": given["x"] * 2 + 1}, (profile,))


def several_tensors() -> Model:
    """Return sums, differences and products of three inputs of two datatypes."""
    model = onnx_model(
        "several",
        [
            node("Add", ["a", "b"], ["sum"]),
            node("Sub", ["a", "b"], ["difference"]),
            node("Mul", ["a", "w"], ["product"]),
            node("Cast", ["k"], ["f"], to=ONNX_TYPES[torch.float32]),
            node("Mul", ["f", "w"], ["weighted"]),
            node("Add", ["k", "k"], ["twice"]),
        ],
        [
            value_info("a", torch.float32, ["n", 4]),
            value_info("b", torch.float32, ["n", 4]),
            value_info("k", torch.int32, ["m", 4]),
            value_info("w", torch.float32, [4]),
        ],
        [
            *(value_info(name, torch.float32, ["n", 4]) for name in ("sum", "difference", "product")),
            value_info("weighted", torch.float32, ["m", 4]),
            value_info("twice", torch.int32, ["m", 4]),
        ],
    )
    sizes = ((1, 1), (8, 2), (3, 7), (8, 8))
    cases = tuple(
        {
            "a": random(n, 4, seed=n).round(decimals=1),
            "b": random(n, 4, seed=n + 50).round(decimals=1),
            "k": torch.arange(4 * m, dtype=torch.int32).reshape(m, 4),
            "w": torch.tensor([1.0, 2.0, 0.5, -1.0]),
        }
        for n, m in sizes
    )

    def expected(given: Values) -> Values:
        a, b, k, w = (given[name] for name in "abkw")
        return {"sum": a + b, "difference": a - b, "product": a * w, "weighted": k * w, "twice": k + k}

    ranges = ((1, 4), (4, 4), (8, 4))
    return Model("several", model, cases, expected, ({"a": ranges, "b": ranges, "k": ranges},))


def profiles(count: int) -> Model:
    """Return twice x above twice v; each profile takes other sizes of both."""
    model = onnx_model(
        f"profiles_{count}",
        [node("Concat", ["x", "v"], ["t"], axis=0), node("Mul", ["t", "two"], ["y"])],
        [value_info("x", torch.float32, ["n", 4]), value_info("v", torch.float32, ["m", 4])],
        [value_info("y", torch.float32, ["k", 4])],
        {"two": np.array(2, np.float32)},
    )
    small, large, huge = ((1, 4), (2, 4), (4, 4)), ((4, 4), (8, 4), (16, 4)), ((17, 4), (32, 4), (64, 4))
    ranges: tuple[Profile, ...] = ({"x": small, "v": small}, {"x": large, "v": small}, {"x": huge, "v": huge})
    sizes = ((1, 1), (4, 4), (5, 2), (16, 4), (3, 3), *(((64, 17), (17, 64)) if count == 3 else ()), (1, 1))
    cases = tuple({"x": random(n, 4, seed=n), "v": random(m, 4, seed=m + 50)} for n, m in sizes)

    def expected(given: Values) -> Values:
        return {"y": torch.cat([given["x"], given["v"]]) * 2}

    return Model(model.graph.name, model, cases, expected, ranges[:count])


def reshaped() -> Model:
    """Return x in the shape that the request gives."""
    model = onnx_model(
        "reshape",
        [node("Reshape", ["x", "s"], ["y"])],
        [value_info("x", torch.float32, ["n", 12]), value_info("s", torch.int64, [2])],
        [value_info("y", torch.float32, ["a", "b"])],
    )
    x = torch.arange(24.0).reshape(2, 12)
    cases = tuple({"x": x, "s": torch.tensor(shape)} for shape in ((4, 6), (2, 12), (3, 8), (4, 6)))
    # The values stand for as many elements as x has.
    profile: Profile = {"x": ((1, 12), (2, 12), (8, 12)), "s": ((2, 6), (4, 6), (8, 12))}
    return Model("reshape", model, cases, lambda given: {"y": x.reshape(tuple(given["s"]))}, (profile,))


def expanded() -> Model:
    """Return a row as often as the request says."""
    model = onnx_model(
        "expand",
        [node("Expand", ["x", "s"], ["y"])],
        [value_info("x", torch.float32, [1, 3]), value_info("s", torch.int64, [2])],
        [value_info("y", torch.float32, ["a", 3])],
    )
    x = torch.tensor([[1.0, 2.0, 3.0]])
    cases = tuple({"x": x, "s": torch.tensor((n, 3))} for n in (1, 7, 16, 2))
    profile: Profile = {"s": ((1, 3), (4, 3), (16, 3))}
    return Model("expand", model, cases, lambda given: {"y": x.expand(tuple(given["s"]))}, (profile,))


def counted() -> Model:
    """Return 0, 3, 6 … below the number that the request gives, which is a scalar."""
    model = onnx_model(
        "range",
        [node("Range", ["zero", "limit", "three"], ["y"])],
        [value_info("limit", torch.int64, [])],
        [value_info("y", torch.int64, ["n"])],
        {"zero": np.array(0, np.int64), "three": np.array(3, np.int64)},
    )
    cases = tuple({"limit": torch.tensor(limit)} for limit in (1, 3, 4, 30, 2))
    profile: Profile = {"limit": ((1,), (10,), (30,))}
    return Model("range", model, cases, lambda given: {"y": torch.arange(0, given["limit"], 3)}, (profile,))


def nonzero() -> Model:
    """Return where x is not 0, of any shape of two dimensions."""
    model = onnx_model(
        "nonzero",
        [node("NonZero", ["x"], ["i"])],
        [value_info("x", torch.float32, ["n", "m"])],
        [value_info("i", torch.int64, [2, "k"])],
    )
    shapes = ((1, 1), (16, 64), (3, 5), (2, 2))
    cases = [{"x": (random(n, m, seed=n) > 0.5).float()} for n, m in shapes]
    cases += [{"x": torch.zeros(4, 4)}, {"x": torch.ones(16, 64)}]
    profile: Profile = {"x": ((1, 1), (4, 16), (16, 64))}
    return Model("nonzero", model, tuple(cases), lambda given: {"i": torch.nonzero(given["x"]).T}, (profile,))


MODELS = (
    *(free_rank(rank) for rank in (1, 2, 3, 4)),
    several_tensors(),
    profiles(2),
    profiles(3),
    reshaped(),
    expanded(),
    counted(),
    nonzero(),
)
