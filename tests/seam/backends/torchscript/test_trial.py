"""Tests of the trial of a module: it is inspected in a process that has none of its engines."""

from pathlib import Path

import torch

from runtime_ext.trial import Request, attempt
from tests.seam.backends.torchscript.modules import from_code, write


def request(path: Path, **options: object) -> Request:
    return {
        "plan": str(path),
        "backend": "torchscript",
        "options": options,
        "libraries": [],
        "plugins": [],
        "allow_host_code": False,
    }


class Calls(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.ops.trt.execute_engine_list(404, [x])[0]
        return torch.ops.trt.execute_engine_list(torch.ops.trt.engine("net"), [x])[0]


def test_the_report_says_which_engines_a_module_calls(tmp_path: Path) -> None:
    path = write(tmp_path / "m.pt", Calls())
    assert attempt(request(path, device="cuda:3")) == {"ok": True, "uses": {"ids": [404], "names": ["net"]}}


def test_the_report_says_why_a_module_is_refused(tmp_path: Path) -> None:
    code = "def forward(self, x: Tensor) -> Tensor:\n    torch.save(x, 'x')\n    return x\n"
    report = attempt(request(write(tmp_path / "m.pt", from_code(code))))
    assert report["kind"] == "InvalidInput"
    assert "aten::save" in report["message"]
