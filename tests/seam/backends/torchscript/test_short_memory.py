"""Modules that would take the memory that the rest of the process needs: they end, and nothing else does."""

import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.seam.backends.torchscript import short_memory
from tests.seam.backends.torchscript.modules import from_code, write
from tests.seam.backends.torchscript.test_trial import request
from tests.seam.conftest import Harness, to_numpy

ROOT = Path(__file__).parents[4]


Ended = dict[tuple[str, int], dict[str, object]]


def run(folder: Path, what: str) -> Ended:
    command = [sys.executable, "-m", short_memory.__name__, what, str(folder)]
    ran = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    return {(line["name"], line["n"]): line for line in map(json.loads, ran.stdout.splitlines())}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """How each module ended in a process that has little memory left."""
    return run(tmp_path_factory.mktemp("short"), "all")


@pytest.mark.parametrize("name", short_memory.BODIES)
def test_a_module_that_needs_too_much_is_refused_and_its_instance_serves_on(ended: Ended, name: str) -> None:
    many = ended[name, short_memory.MANY]
    assert many["kind"] == "Unavailable", many
    assert "more memory than is available" in str(many["message"])
    assert "256 are kept for the rest of the server" in str(many["message"])
    assert ended[name, short_memory.FEW]["kind"] is None


@pytest.mark.parametrize("name", short_memory.BODIES)
def test_what_a_refused_module_had_taken_is_given_back_to_the_system(ended: Ended, name: str) -> None:
    before = int(str(ended["before", short_memory.FEW]["resident"]))
    assert int(str(ended[name, short_memory.MANY]["resident"])) < before + 100 * short_memory.MIB


def test_a_module_that_fits_is_refused_if_it_takes_of_what_is_kept(ended: Ended) -> None:
    between = ended["a tensor", short_memory.BETWEEN]
    assert between["kind"] == "Unavailable", between
    assert "it asked for 572 MiB" in str(between["message"])


@pytest.mark.parametrize("name", short_memory.BODIES)
def test_a_module_that_needs_little_is_served_when_hardly_anything_is_left(ended: Ended, name: str) -> None:
    few = ended[f"{name}, hardly anything left", short_memory.FEW]
    assert few["kind"] is None, few


def test_in_a_small_container_a_quarter_of_what_is_available_is_kept(tmp_path: Path) -> None:
    (refused,) = run(tmp_path, "small").values()
    kept = re.search(r"of which (\d+) are kept for the rest", str(refused["message"]))
    assert kept, refused
    # A quarter of 400 MiB, or less: threads that the load starts reserve addresses for their heaps.
    assert 0 < int(kept[1]) <= 100


WITH_LITTLE_MEMORY = """
import json, sys
from runtime_ext import trial
trial.available_host_memory = lambda: 768 << 20
trial.leave_memory()
print(json.dumps(trial.attempt(json.loads(sys.argv[1]))))
"""


def test_a_module_that_torch_makes_large_as_it_compiles_takes_what_is_available_at_most(
    tmp_path: Path,
) -> None:
    """torch writes a sum of lists as one list."""
    doubled = "        y = y + y\n" * 50
    code = (
        "def forward(self, x: Tensor) -> Tensor:\n    y = [x.size(0)]\n    if y[0] > 3:\n"
        f"{doubled}    return x + len(y)\n"
    )
    asked = json.dumps(request(write(tmp_path / "m.pt", from_code(code))))
    command = [sys.executable, "-c", WITH_LITTLE_MEMORY, asked]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["kind"] == "Unavailable"
    assert "ran out of memory" in report["message"]


LONG = {
    "two chunks": "return torch.tensor([len(torch.zeros([k]).chunk(2))])",
    "two rows": "return torch.tensor([len(torch.zeros([2, k]).unbind(0))])",
    "two halves": "return torch.tensor([len(torch.zeros([k]).split(k // 2))])",
    "no match": 'return torch.tensor([len("a".ljust(k).replace("<Z>", "b".ljust(500))) - k + 2])',
    "a copy": "return torch.tensor([len(list([k] * k)) - k + 2])",
}
"""What takes much less than it seems to; each gives 2."""


@pytest.mark.parametrize("name", LONG)
def test_a_module_for_which_there_is_memory_is_served(tmp_path: Path, name: str) -> None:
    harness = Harness(tmp_path)
    engine = short_memory.load(harness, name, LONG[name])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    short_memory.limit(1000 * short_memory.MIB)
    try:
        (ended,) = harness.wait(harness.submit(engine, n=np.array([5_000_000])))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert ended.kind is None, ended.message
    assert to_numpy(ended.outputs[0]).tolist() == [2]
