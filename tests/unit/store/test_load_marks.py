"""Marks of loads that are under way, after each way in which a server may end."""

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


unended: list[AbstractContextManager[None]] = []  # kept, so that nothing ends them


def end_during(folder: Path, *digests: str, crash: bool) -> None:
    """A server that ends while these are being loaded."""
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


def test_what_was_loading_at_a_kill_is_suspected_of_nothing_worse(folder: Path) -> None:
    for _ in range(5):
        end_during(folder, A, B, crash=False)
    assert crashes(folder) == {A: 0, B: 0}
    mark = LoadMarks(folder).of(A)
    assert mark is not None
    assert not mark.guilty


def test_only_what_was_loading_again_at_the_second_crash_is_guilty(folder: Path) -> None:
    end_during(folder, A, B, C, crash=True)
    marks = LoadMarks(folder)
    with marks.during(A):  # the first of the suspects, which loads
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


def test_a_load_that_ends_well_clears_the_plan(folder: Path) -> None:
    for _ in range(2):
        end_during(folder, A, crash=True)
    marks = LoadMarks(folder)
    with marks.during(A):
        mark = marks.of(A)
        assert mark is not None
        assert mark.guilty
    assert LoadMarks(folder).of(A) is None


def test_marks_of_plans_that_are_not_stored_any_more_go(folder: Path) -> None:
    end_during(folder, A, B, crash=False)
    LoadMarks(folder).keep_only({B, C})
    assert crashes(folder) == {B: 0}


@pytest.mark.parametrize("damage", ["", "{", "[]", "1", '{"at": 3}', "\0" * 50, "[" * 100_000])
def test_a_damaged_mark_is_a_suspicion(folder: Path, damage: str) -> None:
    end_during(folder, A, crash=False)
    (folder / f"{A}.json").write_text(damage)
    assert LoadMarks(folder).of(A) == Mark("an unknown time", under_way=False)


def test_a_mark_that_cannot_be_written_does_not_keep_a_plan_from_loading(
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


def test_the_mark_says_when_the_load_began(folder: Path) -> None:
    marks = LoadMarks(folder)
    with marks.during(A):
        read = json.loads((folder / f"{A}.json").read_text())
    assert read["under_way"] is True
    assert read["at"].startswith("20")


def test_a_store_without_its_folder_goes_without_a_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record_crashes(tmp_path / "nowhere")
    assert "will not be recorded" in caplog.text
