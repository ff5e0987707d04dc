"""Tests that build real plans with TensorRT and compare them with PyTorch; skipped without the builder.

Needs the package `tensorrt`: the lean runtime has no builder.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

import runtime_ext
from tests.gpu.conftest import MODERN
from tests.seam.conftest import Harness

pytestmark = pytest.mark.gpu
trt: Any = pytest.importorskip(
    "tensorrt", reason="the package tensorrt, which builds plans, is not installed"
)

Profile = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def build(define: Callable[[Any], None], profiles: Sequence[dict[str, Profile]] = ()) -> bytes:
    """Build the plan of the network that `define` makes; a profile has min, opt and max shapes by input."""
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(0)
    define(network)
    config = builder.create_builder_config()
    for shapes in profiles:
        profile = builder.create_optimization_profile()
        for name, (low, best, high) in shapes.items():
            profile.set_shape(name, low, best, high)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None, "TensorRT could not build the plan"
    return bytes(plan)


def doubling(dtype: Any, shape: tuple[int, ...]) -> Callable[[Any], None]:
    def define(network: Any) -> None:
        x = network.add_input("x", dtype, shape)
        layer = network.add_elementwise(x, x, trt.ElementWiseOperation.SUM)
        layer.get_output(0).name = "y"
        network.mark_output(layer.get_output(0))

    return define


def load(tensorrt: Harness, plan: bytes, **options: object) -> int:
    file = tensorrt.folder / "real.plan"
    file.write_bytes(plan)
    return tensorrt.load_file(file, MODERN, **options)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "int64"])
def test_every_datatype_agrees_with_pytorch(tensorrt: Harness, dtype: str) -> None:
    names = {"float32": trt.float32, "float16": trt.float16, "int32": trt.int32, "int64": trt.int64}
    engine = load(tensorrt, build(doubling(names[dtype], (2, 4))))
    x = torch.arange(8, device="cuda").reshape(2, 4).to(getattr(torch, dtype))
    assert torch.equal(runtime_ext.module(tensorrt.runtime, engine)(x), x + x)
    assert np.array_equal(tensorrt.infer(engine, x=x.cpu().numpy())["y"], (x + x).cpu().numpy())


@pytest.mark.parametrize("graphs", ["off", "on"])
def test_every_shape_of_every_profile_agrees_with_pytorch(tensorrt: Harness, graphs: str) -> None:
    profiles = [{"x": ((1, 4), (2, 4), (8, 4))}, {"x": ((9, 4), (16, 4), (32, 4))}]
    engine = load(tensorrt, build(doubling(trt.float32, (-1, 4)), profiles), cuda_graphs=graphs)
    module = runtime_ext.module(tensorrt.runtime, engine)
    for batch in (1, 8, 9, 32, 2, 16, 1, 8, 9, 32):
        x = torch.rand(batch, 4, device="cuda")
        assert torch.equal(module(x), x + x)


def test_an_output_whose_shape_depends_on_the_data_agrees_with_pytorch(tensorrt: Harness) -> None:
    def define(network: Any) -> None:
        layer = network.add_non_zero(network.add_input("x", trt.float32, (8,)))
        layer.get_output(0).name = "where"
        network.mark_output(layer.get_output(0))

    engine = load(tensorrt, build(define))
    module = runtime_ext.module(tensorrt.runtime, engine)
    for x in (torch.tensor([0, 1, 0, 2, 0, 0, 0, 3.0]), torch.zeros(8), torch.ones(8)):
        assert torch.equal(module(x.cuda()).cpu().long(), torch.nonzero(x).T)
