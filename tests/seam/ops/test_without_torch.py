"""The extension in a process that has torch's libraries, and its Python modules only if it asks for them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.seam.models import doubling

LATER = """
import sys
import numpy as np
import runtime_ext
assert "torch" not in sys.modules
runtime = runtime_ext.create_runtime()
runtime.load(1, sys.argv[1], "openvino", runtime_ext.LoadOptions())
x = np.ones((1, 4), np.float32)
runtime.submit(runtime.prepare(1, [("x", "FP32", [1, 4])]), (x,))
assert len(runtime.module_bytes(1)) > 0
assert "torch" not in sys.modules
module = runtime_ext.module(runtime, 1)
import torch
assert module(torch.ones(1, 4)).tolist() == [[2.0] * 4]
assert torch.ops.trt.execute_engine_list(1, [torch.ones(1, 4)])[0].tolist() == [[2.0] * 4]
runtime.close()
print("done")
"""


def run(code: str, *arguments: str, libraries: bool) -> str:
    variables = {"RUNTIME_EXT_TORCH": "libraries"} if libraries else {}
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-c", code, *arguments]
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": "/usr/bin:/bin", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(torch.backends.cuda.is_built(), reason="a torch with CUDA is always imported")
def test_an_engine_runs_without_torchs_modules_and_with_them_once_they_are_imported(tmp_path: Path) -> None:
    assert run(LATER, str(doubling(tmp_path / "double.onnx")), libraries=True) == "done\n"


def test_without_being_asked_the_package_makes_its_operators_known_to_torch() -> None:
    code = "import runtime_ext, sys; print(sys.modules['torch'].ops.trt.execute_engine_list)"
    assert "execute_engine_list" in run(code, libraries=False)
