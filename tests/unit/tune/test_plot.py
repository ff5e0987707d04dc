"""The curves of a search."""

import sys
from pathlib import Path

import pytest

from tests.unit.cli.running import trtserve
from tests.unit.tuning import ONE, TWO
from trtserve.tune.closed_loop import Sample
from trtserve.tune.plot import NAMED, plot
from trtserve.tune.report import Row
from trtserve.tune.target import Setting


def row(setting: Setting, concurrency: int, throughput: float) -> Row:
    return Row(setting, concurrency, Sample(throughput, 1.0, float(concurrency), 1.0, 1.0))


def test_each_setting_is_a_curve_and_the_fastest_have_names(tmp_path: Path) -> None:
    settings = [Setting(1, 2**power, "auto") for power in range(1, NAMED + 4)]
    rows = [row(each, level, level * each.max_batch_size) for each in settings for level in (1, 8)]
    plot(tmp_path / "out.svg", "a net", [row(ONE, 1, 1.0), *rows], rows[-1], 10.0)
    drawn = (tmp_path / "out.svg").read_text()
    assert "a net" in drawn
    assert "bound: 10 ms" in drawn
    assert "best: concurrency 8" in drawn
    named = [each for each in settings if f"1 × batch {each.max_batch_size}, delay auto" in drawn]
    assert named == settings[-NAMED:]


def test_a_png_is_one_and_nothing_needs_to_be_best(tmp_path: Path) -> None:
    plot(tmp_path / "out.png", "net", [row(ONE, 1, 1.0), row(TWO, 1, 2.0)], None, 10.0)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        ("curves.jpeg", "A plot is written as .svg or .png, not as curves.jpeg."),
        ("nowhere/curves.svg", "There is no folder"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, picture: str, told: str
) -> None:
    result = trtserve("tune", "no such plan", "--plot", tmp_path / picture)
    assert result.exit_code == 1
    assert told in result.stderr


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = trtserve("tune", "no such plan", "--plot", tmp_path / "out.svg")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: A plot needs matplotlib, which is not installed: pip install 'trtserve[plot]'.\n"
    )
