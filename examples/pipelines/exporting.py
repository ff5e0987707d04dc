"""Makes an engine of a network."""

import logging
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

import runtime_ext


def as_engine(net: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """Export the network to ONNX, for any size of the first dimension, and load that as an engine; the module
    that is returned carries it."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about every operator of torchvision
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own internals
        file = Path(folder) / "net.onnx"
        torch.onnx.export(
            net,
            (example,),
            file,
            dynamo=True,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        engine = runtime_ext.load_engine(file, name=type(net).__name__)
    module = runtime_ext.wrap(engine, portable=True)
    runtime_ext.unload_engine(engine)
    return module


def compare(pipeline: nn.Module, compiled: nn.Module, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Run both and return the results of the second. AssertionError if they differ."""
    with torch.inference_mode():
        expected, results = pipeline(*inputs), compiled(*inputs)
    torch.testing.assert_close(results, expected, rtol=1e-4, atol=1e-5)
    return results
