"""The compiler for TensorRT, with the fake SDK, whose parser reads the toy plan in a model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from runtime_ext.torch_libraries import ALONE, VARIABLE

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, sys
import runtime_ext  # without torch, and so without engines in this process: backends can still be exchanged
from tests.fakes import tensorrt as sdk
from tests.fakes import with_tensorrt

with_tensorrt.install()
import onnx
import torch
from runtime_ext.compiler import compiled, tensorrt

tensorrt.COMMAND = (sys.executable, "-m", with_tensorrt.MODULE, "runtime_ext.building")
write_onnx, lines = compiled.write_onnx, sys.argv[1]
parts = []

def write(alone, part, values, path):
    write_onnx(alone, part, values, path)
    (result,) = part.outputs
    parts.append([node.name for node in part.nodes])
    toy = [f"input x FP32 -1 4", f"output {result.name} scale x 2", *filter(None, [lines])]
    toy += [f"operator Relu node {n.name}" for n in onnx.load(path).graph.node if n.op_type == "Relu"]
    with path.open("ab") as file:
        file.write(sdk.toy_model("\\n".join(toy))[2:])

compiled.write_onnx = write

class Model(torch.nn.Module):
    def forward(self, x):
        return torch.mode((x * 2).relu()).values  # which ONNX does not have

x = torch.tensor([[1.0, 2.0, 2.0, 3.0], [4.0, 4.0, 5.0, 6.0]])
try:
    result = runtime_ext.compile(
        Model().eval(), [x], backend="tensorrt", dynamic={"x": {0: torch.export.Dim("batch")}}
    )
except runtime_ext.CompileError as failure:
    print(json.dumps({"refused": str(failure), "parts": parts}))
    sys.exit()
y = result.module(x[:1]).tolist()
result.save(sys.argv[2])
engine, plan, rest = result.engine, result.plan, [result.in_engine, result.in_torch]
del result
again = torch.jit.load(sys.argv[2])
print(json.dumps({
    "parts": parts, "plan": plan[:4].decode(), "y": y, "again": again(x[:1]).tolist(), "rest": rest,
}))
"""


def compiled(tmp_path: Path, lines: str = "") -> dict[str, Any]:
    """What the program tells; `lines` are added to the toy plan."""
    paths = [str(ROOT), *sys.path]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, lines, str(tmp_path / "compiled.pt")],
        env=os.environ | {"PYTHONPATH": ":".join(paths), VARIABLE: ALONE},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return told


def test_the_part_becomes_a_plan_and_a_node_that_tensorrt_lacks_is_left_to_torch(tmp_path: Path) -> None:
    told = compiled(tmp_path)
    assert told["parts"] == [["mul", "relu"], ["mul"]]
    assert told["plan"] == "ftrt"
    assert told["rest"] == [["aten::mul.Tensor"], ["aten::relu", "aten::mode"]]
    assert told["y"] == told["again"] == [4.0]


def test_a_build_that_fails_says_why(tmp_path: Path) -> None:
    told = compiled(tmp_path, "build_fail the tactics ran away")
    assert told["refused"].startswith("TensorRT does not build the plan: ")
    assert "the tactics ran away" in told["refused"]


def test_a_builder_that_crashes_ends_only_its_own_process(tmp_path: Path) -> None:
    told = compiled(tmp_path, "build_crash")
    assert told["refused"].startswith("TensorRT's builder crashed (exit code -11)")
