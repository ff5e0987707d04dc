"""The GPU benchmark on the fakes: every way runs and gives the raw loop's answers. Times mean nothing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HANGS_AFTER_S = 900  # only to end a test that would never end
WAYS = {"raw", "raw with copies", "operator", "module", "scheduler", "HTTP", "HTTP, shared memory"}
LONE = {"raw, lone", "HTTP, lone", "HTTP, shared memory, lone"}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.gpu", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=HANGS_AFTER_S)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("out")
    done = run("--toy", "--out", folder, "--rounds", 1, "--seconds", 0.01, "--connections", 2)
    assert done.returncode == 0, done.stderr
    return folder


def results(out: Path) -> dict[str, Any]:
    return json.loads((out / "performance-gpu.json").read_text())


def test_every_way_is_measured_at_every_batch_with_graphs_off_and_on(out: Path) -> None:
    measured = [(row["way"], row["batch"], row["graphs"]) for row in results(out)["rows"]]
    loads = {(way, batch, graphs) for way in WAYS for batch in (1, 8, 32) for graphs in (False, True)}
    lone = {(way, 1, graphs) for way in LONE for graphs in (False, True)}
    assert len(measured) == len(set(measured))
    assert set(measured) == loads | lone


def test_every_way_gives_the_answers_of_the_raw_loop(out: Path) -> None:
    assert results(out)["greatest_difference"] == 0


def test_nothing_failed(out: Path) -> None:
    assert results(out)["failures"] == []


def test_the_raw_loop_has_a_share_of_one(out: Path) -> None:
    shares = {row["share"] for row in results(out)["rows"] if row["way"] == "raw"}
    assert shares == {1.0}


def test_every_goal_is_judged_and_every_miss_has_a_profile(out: Path) -> None:
    judged = results(out)["targets"]
    assert [(target["what"], target["batch"], target["graphs"]) for target in judged] == [
        ("graphs at batch 1, of a bare replay", 1, True),
        *(
            goal
            for graphs in (False, True)
            for goal in (
                ("operator", 8, graphs),
                ("operator", 32, graphs),
                ("scheduler, copies overlapped", 32, graphs),
                ("HTTP with shared memory", 32, graphs),
                ("lone request over HTTP, above the engine's own time", 1, graphs),
            )
        ),
    ]
    missed = [target["what"] for target in judged if not target["met"]]
    assert [profile.partition(", batch")[0] for profile in results(out)["profiles"]] == missed


def test_a_report_can_be_written_from_the_results_of_another_machine(out: Path, tmp_path: Path) -> None:
    done = run("--from", out / "performance-gpu.json", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "performance-gpu.md").read_text() == (out / "performance-gpu.md").read_text()
    assert "<svg" in (tmp_path / "performance-gpu.svg").read_text()


def test_figures_of_the_fakes_never_reach_the_documentation() -> None:
    refused = run("--toy")
    assert refused.returncode == 2
    assert "--toy needs --out" in refused.stderr
