"""Modules that would take the memory that the rest of the process needs: they end, and nothing else does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.seam.backends.torchscript import short_memory

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """How each module ended in a process that has little memory left."""
    command = [sys.executable, "-m", short_memory.__name__, str(tmp_path_factory.mktemp("short"))]
    run = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    return {line["name"]: line for line in map(json.loads, run.stdout.splitlines())}


@pytest.mark.parametrize("name", short_memory.BODIES)
def test_a_module_that_needs_too_much_is_refused_and_its_instance_serves_on(
    ended: dict[str, dict[str, object]], name: str
) -> None:
    many = ended[name]
    assert many["kind"] == "Unavailable", many
    assert "more memory than is available" in str(many["message"])
    assert "256 are kept for the rest of the server" in str(many["message"])
    assert int(str(many["after"])) > 0
