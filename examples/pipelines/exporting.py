"""Makes an engine of a network."""

import logging
import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

import runtime_ext


def export(net: nn.Module, example: Tensor, file: Path) -> None:
    """Write the network as ONNX, for any size of the first dimension."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about every operator of torchvision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the exporter's own internals
        torch.onnx.export(
            net,
            (example,),
            file,
            dynamo=True,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )


def as_engine(net: nn.Module, example: Tensor) -> torch.jit.ScriptModule:
    """Load the network as an engine of this process; the module that is returned carries it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        export(net, example, file)
        engine = runtime_ext.load_engine(file, name=type(net).__name__)
    module = runtime_ext.wrap(engine, portable=True)
    runtime_ext.unload_engine(engine)
    return module
