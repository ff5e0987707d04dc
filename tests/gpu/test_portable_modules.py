"""Modules that carry a real plan: fresh processes load the file and answer as PyTorch does."""

from pathlib import Path

import pytest
import torch

from tests.gpu.fresh import run
from tests.gpu.models import Model, named
from tests.gpu.real import RealTensorRt
from tests.gpu.served import serving, upload

pytestmark = pytest.mark.gpu

WRITE = """
import sys
import runtime_ext

engine = runtime_ext.load_engine(sys.argv[1], instances=2, cuda_graphs="on")
runtime_ext.wrap(engine, portable=True).save(sys.argv[2])
"""
READ = """
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

import runtime_ext

portable, cases, answers = sys.argv[1:]
net = torch.jit.load(portable)

def ask(x):
    with torch.cuda.stream(torch.cuda.Stream()):
        on_device = x.cuda()
        y = net(on_device)
        assert y.device.type == "cuda", y.device
        return y.cpu()

inputs = torch.load(cases)
with ThreadPoolExecutor(8) as threads:
    ways = [[ask(x) for x in inputs], list(threads.map(ask, inputs * 20)), [net(x).cpu() for x in inputs]]
scripted = torch.jit.script(torch.nn.Sequential(net, torch.nn.ReLU()))
ways.append([scripted(x.cuda()).cpu() for x in inputs])
torch.save(ways, answers)
"""


def check_in_a_fresh_process(portable: Path, model: Model, folder: Path) -> None:
    """Load the file alone and ask it each case: on streams, from threads, from the CPU and scripted."""
    inputs = [case["x"] for case in model.cases]
    torch.save(inputs, folder / "cases.pt")
    run(READ, portable, folder / "cases.pt", folder / "answers.pt")
    eager, threads, host, scripted = torch.load(folder / "answers.pt")
    for y, case in zip([*eager, *threads, *host], model.cases * 22, strict=True):
        model.agrees({"y": y}, case)
    for positive, y in zip(scripted, eager, strict=True):
        torch.testing.assert_close(positive, torch.relu(y))


def test_a_portable_module_runs_its_plan_in_a_fresh_process(real: RealTensorRt, tmp_path: Path) -> None:
    model = named("mlp_f32")
    plan = real.plan(model)
    portable = tmp_path / "portable.pt"
    run(WRITE, plan, portable)
    assert portable.stat().st_size > plan.stat().st_size
    plan.rename(plan.with_suffix(".away"))
    try:
        check_in_a_fresh_process(portable, model, tmp_path)
    finally:
        plan.with_suffix(".away").rename(plan)


def test_the_module_of_a_served_plan_runs_in_a_fresh_process(real: RealTensorRt, tmp_path: Path) -> None:
    model = named("mlp_f32")
    with serving(tmp_path) as server:
        upload(server, real.plan(model), "net", instances=2)
        answer = server.client.get("/engines/net/module")
        assert answer.status_code == 200, answer.text
        portable = tmp_path / "portable.pt"
        portable.write_bytes(answer.content)
    check_in_a_fresh_process(portable, model, tmp_path)
