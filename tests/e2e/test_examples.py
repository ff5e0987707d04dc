"""The examples of pipelines, as a user runs them on a server; each fails if its results are not PyTorch's."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.server import Server, environment
from tests.jpeg import NEEDS_JPEG

FOLDER = Path(__file__).parents[2] / "examples" / "pipelines"


@pytest.mark.parametrize(
    ("name", "told", "engines"),
    [
        ("classifier", "40x30: ", 1),
        ("ensemble", "batch of 9: ", 2),
        ("detector", "image 2: ", 1),
        pytest.param("photographs", "3 photographs: ", 1, marks=NEEDS_JPEG),
    ],
)
def test_a_pipeline_on_a_server_gives_the_results_of_pytorch(
    server: Server, name: str, told: str, engines: int
) -> None:
    command = [sys.executable, *(["-P"] if sys.flags.safe_path else []), str(FOLDER / f"{name}.py")]
    command += ["--server", str(server.client.base_url)]
    path = {"PYTHONPATH": ":".join([str(FOLDER), *sys.path])}
    ended = subprocess.run(command, env=environment() | path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert told in ended.stdout
    module = server.client.get(f"/modules/{name}").json()
    assert (module["state"], len(module["uses"])) == ("READY", engines)
    assert server.metric("trtserve_requests_total", engine=name, outcome="Success") == 3
