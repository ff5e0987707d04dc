"""The examples of pipelines: each compares its results with PyTorch's and fails if they differ."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "examples" / "pipelines"


@pytest.mark.parametrize(
    ("file", "told"),
    [("classifier.py", "40x30: "), ("ensemble.py", "batch of 9: "), ("detector.py", "image 2: ")],
)
def test_a_pipeline_with_engines_gives_the_results_of_pytorch(file: str, told: str) -> None:
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), str(FOLDER / file)]
    environment = {"PYTHONPATH": ":".join([str(FOLDER), *sys.path]), "PATH": "/usr/bin:/bin"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert told in ended.stdout
