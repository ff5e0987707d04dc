"""Compiles a model into a hybrid: its largest part that an engine can run, and torch for the rest.

program.py makes a flat graph of the model, part.py finds the part, plan.py writes it as ONNX, tensorrt.py
builds a plan of that if it is for TensorRT, and script.py writes the graph with the call of the engine as
TorchScript.
"""

from runtime_ext.compiler.compiled import Compiled, compile
from runtime_ext.compiler.program import CompileError

__all__ = ["CompileError", "Compiled", "compile"]
