"""Builds plans with TensorRT for RTX, whose builder needs no GPU: `python -m tests.rtx_builder FOLDER`.

`8.0+8.9.rtx` is for these compute capabilities, and `default.rtx` for those that the builder chooses itself.
It runs as a process of its own, because other libraries of TensorRT have the same symbols.
"""

import sys
from pathlib import Path

import onnx
import tensorrt_rtx_libs  # noqa: F401  loads the library that the bindings need
from onnx import TensorProto, helper

import tensorrt_rtx_bindings as trt  # isort: skip  needs the library

CHOICES = ("default", "7.5", "8.0", "8.6", "8.9", "12.0", "12.1", "8.0+8.9", "8.6+12.0+12.1")


def square() -> bytes:
    """An ONNX model of y = x * x, f32 [n,4]."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "x"], ["y"])], "square", [x], [y])
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    return model.SerializeToString()


def build(model: bytes, capabilities: list[str]) -> bytes:
    """A plan for these compute capabilities; none: the builder chooses."""
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    assert trt.OnnxParser(network, logger).parse(model)
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("x", (1, 4), (8, 4), (64, 4))
    config.add_optimization_profile(profile)
    if capabilities:
        config.num_compute_capabilities = len(capabilities)
    for place, capability in enumerate(capabilities):
        named = getattr(trt.ComputeCapability, f"SM{capability.replace('.', '')}")
        assert config.set_compute_capability(named, place)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None, capabilities
    return bytes(plan)


def main(folder: Path) -> None:
    model = square()
    for choice in CHOICES:
        capabilities = [] if choice == "default" else choice.split("+")
        (folder / f"{choice}.rtx").write_bytes(build(model, capabilities))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
