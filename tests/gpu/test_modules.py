"""Modules that call real plans on a GPU: every answer is compared with PyTorch's."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

import runtime_ext
from tests.gpu.models import Model, Values, named
from tests.gpu.real import DEVICE, RealTensorRt
from tests.gpu.served import ask, serving, upload

pytestmark = pytest.mark.gpu


class Pipeline(torch.nn.Module):
    """Scales, calls the engine `net`, and returns its output, and the largest element of each row."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.tensor(0.5))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = torch.ops.trt.execute_engine_list(torch.ops.trt.engine("net"), [x * self.factor])[0]
        return y, torch.argmax(y, 1)


def archive(path: Path, model: Model) -> Path:
    width = model.cases[0]["x"].shape[1]
    classes = model.expected(model.cases[0])["y"].shape[1]
    document = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, width]}],
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [-1, classes]},
            {"name": "best", "datatype": "INT64", "shape": [-1]},
        ],
    }
    extra = {"trtserve.json": json.dumps(document)}
    torch.jit.save(torch.jit.script(Pipeline()), str(path), _extra_files=extra)
    return path


def agrees(model: Model, answer: Values, case: Values) -> None:
    model.agrees({"y": answer["y"]}, {"x": case["x"] * 0.5})
    assert torch.equal(answer["best"].cpu(), answer["y"].cpu().argmax(1))


@pytest.mark.parametrize("graphs", ["off", "on"])
def test_a_module_runs_a_real_plan_between_its_own_steps(
    real: RealTensorRt, tmp_path: Path, graphs: str
) -> None:
    model = named("mlp_f32")
    engine = real.load_model(model, name="net", instances=2, cuda_graphs=graphs)
    options = runtime_ext.LoadOptions(name="pipeline", engines={"net": engine}, instances=2, device="cuda:0")
    real.runtime.load(999, str(archive(tmp_path / "m.pt", model)), "torchscript", options)
    assert real.runtime.engine(999).devices == ["cuda:0"]

    def check(case: Values) -> None:
        agrees(model, real.eager(999, case), case)

    for case in (*model.cases, *model.cases):
        check(case)
        agrees(model, real.queued(999, case), case)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(check, model.cases * 40))
    x = model.cases[0]["x"].to(DEVICE)
    y, _ = runtime_ext.module(real.runtime, 999)(x)
    assert y.device.type == DEVICE.type
    with pytest.raises(runtime_ext.Error, match="is used by"):
        real.runtime.unload(engine)
    real.runtime.unload(999)
    real.runtime.unload(engine)


def test_a_served_module_answers_as_pytorch_does(real: RealTensorRt, tmp_path: Path) -> None:
    model = named("mlp_f32")
    with serving(tmp_path) as server:
        upload(server, real.plan(model), "net", instances=2)
        module = upload(server, archive(tmp_path / "m.pt", model), "pipeline", max_batch_size=16)
        assert module["device"] == "cuda:0"
        for case in (*model.cases, *model.cases):
            agrees(model, ask(server, module, case), case)
