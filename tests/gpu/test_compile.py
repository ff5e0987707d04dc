"""`trtserve compile --backend tensorrt` with a real builder: its module agrees with PyTorch."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.gpu.conftest import cannot_run
from tests.gpu.fresh import run
from tests.gpu.real import RealTensorRt
from tests.gpu.served import ask, serving, upload

pytestmark = pytest.mark.gpu
TOLERANCE = 2e-2  # TensorRT 8 computes f32 in TF32

FRESH = """
import sys
import torch
import runtime_ext

module, inputs, answers = sys.argv[1:]
net = torch.jit.load(module, map_location="cuda")
torch.save([net(x.cuda()).cpu() for x in torch.load(inputs)], answers)
"""


class Chosen(nn.Module):
    """A network, and the rows of the batch whose score is above the mean: a size that depends on data."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.net(x).flatten()
        return x[torch.nonzero(scores > scores.mean()).squeeze(1)]


class Modes(nn.Module):
    """`mode` between two layers, which neither ONNX nor TensorRT has."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Linear(16, 32)
        self.after = nn.Linear(1, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = torch.mode(torch.round(self.before(x))).values
        return torch.softmax(self.after(value.unsqueeze(1)), 1)


def exported(model: nn.Module, example: torch.Tensor, path: Path) -> Path:
    batch = {"x": {0: torch.export.Dim("batch", min=1, max=16)}}
    torch.export.save(torch.export.export(model.eval(), (example,), dynamic_shapes=batch), path)
    return path


def compiled(model: Path, output: Path, *options: str) -> str:
    """What the command tells; the test cannot run where the service's dependencies are missing."""
    command = [sys.executable, "-m", "trtserve", "compile", str(model), "-o", str(output)]
    command += ["--backend", "tensorrt", "--tolerance", str(TOLERANCE), *options]
    ended = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=False)
    if "No module named" in ended.stderr:
        cannot_run(ended.stderr.splitlines()[-1])
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def answers(module: Path, inputs: Sequence[torch.Tensor], folder: Path) -> list[torch.Tensor]:
    torch.save(list(inputs), folder / "inputs.pt")
    run(FRESH, module, folder / "inputs.pt", folder / "answers.pt")
    found: list[torch.Tensor] = torch.load(folder / "answers.pt")
    return found


@pytest.mark.parametrize("precision", ["f32", "f16"])
def test_a_compiled_model_agrees_with_pytorch_for_each_batch(
    real: RealTensorRt, tmp_path: Path, precision: str
) -> None:
    torch.manual_seed(3)
    model = Chosen()
    inputs = [torch.rand(batch, 3, 32, 32) for batch in (2, 1, 16, 5)]
    told = compiled(
        exported(model, inputs[0], tmp_path / "model.pt2"), tmp_path / "out.pt", "--precision", precision
    )
    print(told)
    assert "nonzero" in told
    for found, x in zip(answers(tmp_path / "out.pt", inputs, tmp_path), inputs, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(found, model(x))


def test_a_node_that_tensorrt_lacks_stays_in_torch(real: RealTensorRt, tmp_path: Path) -> None:
    torch.manual_seed(4)
    model = Modes()
    x = torch.rand(4, 16) * 8
    told = compiled(exported(model, x, tmp_path / "model.pt2"), tmp_path / "out.pt")
    print(told)
    assert "mode" in told
    (found,) = answers(tmp_path / "out.pt", [x], tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(found, model(x), rtol=TOLERANCE, atol=TOLERANCE)


def test_the_two_files_of_a_compiled_model_are_served_as_they_are(real: RealTensorRt, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = Chosen()
    x = torch.rand(6, 3, 32, 32)
    file = exported(model, x, tmp_path / "model.pt2")
    compiled(file, tmp_path / "calls.pt", "--plan", str(tmp_path / "net.plan"))
    with serving(tmp_path) as server:
        upload(server, tmp_path / "net.plan", "net")
        module = upload(server, tmp_path / "calls.pt", "hybrid")
        print(json.dumps(module["inputs"]))
        name = module["inputs"][0]["name"]
        (found,) = ask(server, module, {name: x}).values()
    with torch.no_grad():
        torch.testing.assert_close(found, model(x))
