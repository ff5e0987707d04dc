"""`trtserve compile`: the files that it writes, and what it refuses."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import runtime_ext
from trtserve.cli.main import main


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.net(x).flatten()
        return x[torch.nonzero(scores > scores.mean()).squeeze(1)]


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    return Model().eval()


def trtserve(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compile", *map(str, arguments)])


def test_a_torchscript_file_becomes_a_module_that_carries_its_engine(tmp_path: Path, model: Model) -> None:
    torch.jit.script(model).save(tmp_path / "model.pt")
    ended = trtserve(tmp_path / "model.pt", "-o", tmp_path / "out.pt", "--input", "FP32:3x4")
    assert ended.exit_code == 0, ended.output
    assert "torch runs 3 (index.Tensor, nonzero, squeeze.dim)" in ended.output
    x = torch.rand(3, 4)
    assert torch.equal(torch.jit.load(tmp_path / "out.pt")(x), model(x))


def test_an_exported_file_becomes_two_parts_with_its_own_examples(tmp_path: Path, model: Model) -> None:
    shapes = {"x": {0: torch.export.Dim("batch")}}
    torch.export.save(
        torch.export.export(model, (torch.rand(3, 4),), dynamic_shapes=shapes), tmp_path / "model.pt2"
    )
    module, plan = tmp_path / "out.pt", tmp_path / "out.onnx"
    ended = trtserve(tmp_path / "model.pt2", "-o", module, "--plan", plan)
    assert ended.exit_code == 0, ended.output
    engine = runtime_ext.load_engine(plan)
    assert f"engine {engine} runs" in ended.output
    x = torch.rand(7, 4)
    assert torch.equal(torch.jit.load(module)(x), model(x))
    runtime_ext.unload_engine(engine)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give one --input for each input"),
        (["--input", "3x4"], "is not a datatype and a shape"),
        (["--input", "FP99:3x4"], "FP99 is not a datatype; there are BOOL"),
        (["--input", "FP32:3x5"], "The model cannot be exported"),
        (["--input", "FP32:3x4", "--precision", "f16"], "--precision says how a plan is built"),
        (["--input", "FP32:3x4", "--profile", "x:1x4/2x4/4x4"], "--profile says how a plan is built"),
        (
            ["--input", "FP32:3x4", "--backend", "tensorrt", "--profile", "x:1"],
            "The profile 'x:1' cannot be read",
        ),
    ],
)
def test_what_cannot_be_compiled_is_refused_and_nothing_is_written(
    tmp_path: Path, model: Model, arguments: list[str], told: str
) -> None:
    torch.jit.script(model).save(tmp_path / "model.pt")
    ended = trtserve(tmp_path / "model.pt", "-o", tmp_path / "out.pt", *arguments)
    assert ended.exit_code != 0
    assert told in ended.output
    assert not (tmp_path / "out.pt").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [("model.pt", "is not a TorchScript file"), ("model.pt2", "was not written by torch.export.save")],
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / name).write_bytes(b"no zip")
    ended = trtserve(tmp_path / name, "-o", tmp_path / "out.pt", "--input", "FP32:3x4")
    assert ended.exit_code == 1
    assert told in ended.output
