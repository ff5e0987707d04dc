"""Builds the plan of a part for TensorRT, in a process of its own: see building.py."""

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime_ext import BuildOptions
from runtime_ext.compiler.part import Part
from runtime_ext.compiler.plan import NodeRefused
from runtime_ext.compiler.program import CompileError

if TYPE_CHECKING:
    from runtime_ext.building import Request

# -P: do not import from the folder that the program was started in.
COMMAND = (sys.executable, "-P", "-m", "runtime_ext.building")
OPTIONS = (
    "device",
    "precision",
    "profiles",
    "max_batch_size",
    "workspace_bytes",
    "timing_cache",
    "external_data",
)
LAST_WORDS = 500  # characters of what a process that crashed has written
OPSET = 17
"""The newest that every version of TensorRT reads whole: see onnx_ignored.h."""

OF_NODE = "pkg.torch.onnx.fx_node"
"""The property of a node of ONNX in which torch.onnx writes the node of the graph that it comes from."""


def build_plan(model: Path, part: Part, plan: Path, options: BuildOptions) -> None:
    """Build a plan of the part's ONNX file `model`, for the GPU of this machine. Takes seconds to minutes.

    Raises NodeRefused for a node that TensorRT does not have, and CompileError.
    """
    request: Request = {
        "backend": "",
        "model": str(_lowered(model)),
        "plan": str(plan),
        "options": _written(options),
        "libraries": [],
        "plugins": [],
        "allow_host_code": False,
        "most_bytes": None,
    }
    ended = subprocess.run(
        COMMAND, input=json.dumps(request).encode() + b"\n", capture_output=True, check=False
    )
    report = _last_event(ended.stdout)
    if report.get("ok") is True and ended.returncode == 0:
        return
    if "message" not in report:
        words = " ".join(ended.stderr.decode(errors="replace").split())[-LAST_WORDS:]
        raise CompileError(f"TensorRT's builder crashed (exit code {ended.returncode}): {words}")
    told = str(report["message"])
    if report.get("kind") == "Unsupported" and (node := _node_in(told, model, part)) is not None:
        raise NodeRefused(node, told)
    raise CompileError(f"TensorRT does not build the plan: {told}")


def _lowered(model: Path) -> Path:
    """Write the model with the operators of OPSET beside it; return that file, or the model if it uses
    what OPSET does not have."""
    import onnx

    lowered = model.with_suffix(f".{OPSET}.onnx")
    try:
        # Only known to lose metadata, which _node_in() reads from the model itself.
        onnx.save(onnx.version_converter.convert_version(onnx.load(model), OPSET), lowered)
    except Exception:  # of several types, some from C++
        return model
    return lowered


def _written(options: BuildOptions) -> dict[str, Any]:
    """The options by name, for JSON."""
    return {name: getattr(options, name) for name in OPTIONS}


def _last_event(output: bytes) -> dict[str, Any]:
    lines = output.splitlines()
    try:
        event = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _node_in(told: str, model: Path, part: Part) -> str | None:
    """The node of the part from which the node of ONNX comes that the sentence names, if it names one."""
    import onnx

    names = {node.name for node in part.nodes}
    for node in onnx.load(model, load_external_data=False).graph.node:
        if not node.name or f"'{node.name}'" not in told:
            continue
        for entry in node.metadata_props:
            name = entry.value.removeprefix("%").split(" ")[0]
            if entry.key == OF_NODE and name in names:
                return name
    return None
