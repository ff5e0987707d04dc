"""The README's section "Try it", pasted in order into a shell, does what it says."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.server import Server, environment

ROOT = Path(__file__).parents[2]
PRESET = 'set -euo pipefail; curl() { command curl --fail-with-body -sS "$@"; }\n'


def blocks() -> list[tuple[str, str]]:
    """The language and the text of each block of the section."""
    section = (ROOT / "README.md").read_text().partition("\n## Try it\n")[2].partition("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that has what the demo leaves."""
    train = "from examples.lenet_digits import train; import pathlib, sys; data = train.digits(); "
    export = "train.export(train.train(data), pathlib.Path(sys.argv[1]))"
    model = tmp_path / "examples/lenet_digits/lenet.onnx"
    model.parent.mkdir(parents=True)
    run([sys.executable, "-c", train + export, str(model)], ROOT)
    return tmp_path


def run(command: list[str], folder: Path) -> str:
    path = {"PYTHONPATH": ":".join([str(ROOT), *filter(None, sys.path)])}
    ended = subprocess.run(
        command, cwd=folder, env=environment() | path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_each_command_succeeds_in_the_order_in_which_it_stands(server: Server, folder: Path) -> None:
    (start, begun), *rest = blocks()
    assert (start, begun) == ("sh", "make run\n")
    said = []
    for language, text in rest:
        pasted = text.replace("http://127.0.0.1:8000", str(server.client.base_url).rstrip("/"))
        if language == "sh":
            said.append(run(["bash", "-c", PRESET + pasted], folder))
        else:
            said.append(run([sys.executable, "-c", pasted], folder))
    digits = json.loads(said[1])["outputs"][0]["data"]
    assert digits.index(max(digits)) == 2
    assert (folder / "LeNet_trt.pt").stat().st_size > 0
    assert server.client.get("/engines").json()["engines"] == []
