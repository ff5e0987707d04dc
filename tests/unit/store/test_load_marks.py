"""Marks of loads under way, after every kind of end of a server."""

import json
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from trtserve.store.load_marks import LoadMarks, Mark, record_crashes

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "loading"


unended: list[AbstractContextManager[None]] = []  # referenced, so that they never end


def end_during(folder: Path, *digests: str, crash: bool) -> None:
    """Leave the marks of a server that ends while it loads these engines."""
    marks = LoadMarks(folder)
    for digest in digests:
        load = marks.during(digest)
        load.__enter__()
        unended.append(load)
    if crash:
        (folder / "crash").write_text("Fatal Python error: Segmentation fault\n")


def crashes(folder: Path) -> dict[str, int]:
    marks = LoadMarks(folder)
    found = {digest: marks.of(digest) for digest in (A, B, C)}
    return {digest: mark.crashes for digest, mark in found.items() if mark is not None}


def test_a_load_that_ends_leaves_no_mark(folder: Path) -> None:
    marks = LoadMarks(folder)
    with marks.during(A):
        assert marks.of(A) is not None
    assert marks.of(A) is None
    with pytest.raises(ValueError, match="bad"), marks.during(A):
        raise ValueError("bad")
    assert marks.of(A) is None
    assert list(folder.iterdir()) == []


def test_repeated_kills_make_no_plan_guilty(folder: Path) -> None:
    for _ in range(5):
        end_during(folder, A, B, crash=False)
    assert crashes(folder) == {A: 0, B: 0}
    mark = LoadMarks(folder).of(A)
    assert mark is not None
    assert not mark.guilty


def test_only_a_plan_that_was_loading_at_both_crashes_is_guilty(folder: Path) -> None:
    end_during(folder, A, B, C, crash=True)
    marks = LoadMarks(folder)
    with marks.during(A):  # the first suspect loads well
        pass
    end_during(folder, B, crash=True)
    marks = LoadMarks(folder)
    b, c = marks.of(B), marks.of(C)
    assert marks.of(A) is None
    assert b is not None
    assert c is not None
    assert (b.guilty, c.guilty) == (True, False)


def test_a_crash_counts_once_however_often_the_store_is_opened(folder: Path) -> None:
    end_during(folder, A, crash=True)
    for _ in range(3):
        assert crashes(folder) == {A: 1}


def test_a_successful_load_clears_the_plan(folder: Path) -> None:
    for _ in range(2):
        end_during(folder, A, crash=True)
    marks = LoadMarks(folder)
    with marks.during(A):
        mark = marks.of(A)
        assert mark is not None
        assert mark.guilty
    assert LoadMarks(folder).of(A) is None


def test_marks_of_plans_no_longer_stored_are_removed(folder: Path) -> None:
    end_during(folder, A, B, crash=False)
    LoadMarks(folder).keep_only({B, C})
    assert crashes(folder) == {B: 0}


@pytest.mark.parametrize("damage", ["", "{", "[]", "1", '{"at": 3}', "\0" * 50, "[" * 100_000])
def test_a_damaged_mark_makes_its_plan_a_suspect(folder: Path, damage: str) -> None:
    end_during(folder, A, crash=False)
    (folder / f"{A}.json").write_text(damage)
    assert LoadMarks(folder).of(A) == Mark("an unknown time", under_way=False)


def test_a_plan_loads_even_if_its_mark_cannot_be_written(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    marks = LoadMarks(folder)
    folder.rmdir()
    with marks.during(A):
        pass
    assert "leaves no mark in the store" in caplog.text


CRASH = """
import ctypes, os, signal, sys
from pathlib import Path
from trtserve.store.load_marks import LoadMarks, record_crashes
root = Path(sys.argv[1])
marks = LoadMarks(root / "loading")
record_crashes(root)
with marks.during("a" * 64):
    os.kill(os.getpid(), int(sys.argv[2]))
    signal.pause()
"""


@pytest.mark.parametrize(
    ("signal", "counted"), [("SIGSEGV", 1), ("SIGABRT", 1), ("SIGKILL", 0), ("SIGTERM", 0)]
)
def test_a_fatal_signal_counts_as_a_crash_and_a_kill_does_not(
    tmp_path: Path, folder: Path, signal: str, counted: int, caplog: pytest.LogCaptureFixture
) -> None:
    import signal as signals

    number = str(int(getattr(signals, signal)))
    ended = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path), number], timeout=60, check=False)
    assert ended.returncode == -int(number)
    assert crashes(folder) == {A: counted}
    assert ("the previous server crashed" in caplog.text) is bool(counted)


def test_a_mark_records_when_the_load_began(folder: Path) -> None:
    marks = LoadMarks(folder)
    with marks.during(A):
        read = json.loads((folder / f"{A}.json").read_text())
    assert read["under_way"] is True
    assert read["at"].startswith("20")


def test_without_the_folder_of_marks_crashes_are_not_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record_crashes(tmp_path / "nowhere")
    assert "will not be recorded" in caplog.text
