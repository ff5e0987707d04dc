"""The store after a loss of power at any point: what was not synced to the disk is lost, or out of order."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.power.cuts import Cutter, scratch
from tests.power.disk import Disk, Record
from trtserve.store.set_aside import SetAside

CUTS = 60  # of the workloads, and as many of starts; `make power` cuts 1,000 times


def test_what_was_answered_survives_a_loss_of_power_at_any_point() -> None:
    with scratch() as folder:
        tally = Cutter(Path(folder), seed=1).run(CUTS)
    assert tally.wrong == []
    assert tally.cuts.total() >= CUTS


# -- the disk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def left(root: Path, tmp_path: Path) -> Callable[..., set[tuple[str, bytes]]]:
    """What 100 losses of power may leave of the file that the changes make."""

    def left(*changes: tuple[str, str] | tuple[str, str, bytes]) -> set[tuple[str, bytes]]:
        inode = str(root.stat().st_ino)
        disk = Disk(root)
        for kind, fields, *data in changes:
            disk.change(Record(kind, fields.replace("ROOT", inode).split(), *data))
        found = set()
        for number in range(100):
            to = tmp_path / f"left-{number}"
            to.mkdir()
            disk.after_loss(random.Random(number), to)
            found |= {(path.name, path.read_bytes()) for path in to.iterdir()} or {("", b"")}
            shutil.rmtree(to)
        return found

    return left


NEW = ("C", "ROOT 7 new")
WRITE = ("W", "7 0 4", b"data")


def test_a_file_needs_its_own_fsync_and_that_of_its_folder(
    left: Callable[..., set[tuple[str, bytes]]],
) -> None:
    assert left(NEW, WRITE) == {("", b""), ("new", b""), ("new", b"data")}
    assert left(NEW, WRITE, ("S", "7")) == {("", b""), ("new", b"data")}
    assert left(NEW, WRITE, ("S", "ROOT")) == {("new", b""), ("new", b"data")}
    assert left(NEW, WRITE, ("S", "7"), ("S", "ROOT")) == {("new", b"data")}


def test_a_rename_is_lost_whole_or_not_at_all(left: Callable[..., set[tuple[str, bytes]]]) -> None:
    synced = NEW, WRITE, ("S", "7"), ("S", "ROOT")
    renamed = *synced, ("R", "ROOT new ROOT old")
    assert left(*renamed) == {("new", b"data"), ("old", b"data")}
    assert left(*renamed, ("S", "ROOT")) == {("old", b"data")}


def test_sectors_of_a_write_reach_the_disk_one_by_one(left: Callable[..., set[tuple[str, bytes]]]) -> None:
    one, two = b"1" * 512, b"2" * 512
    found = left(NEW, ("S", "ROOT"), ("W", "7 0 1024", one + two))
    assert found == {("new", b""), ("new", one), ("new", bytes(512) + two), ("new", one + two)}


# -- the folder of files that were set aside


def test_a_file_that_is_kept_aside_stays_where_it_is(root: Path) -> None:
    (root / "file").write_bytes(b"data")
    SetAside(root).keep(root / "file")
    assert (root / "file").read_bytes() == (root / "set-aside" / "file").read_bytes() == b"data"
