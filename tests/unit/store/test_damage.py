"""A store whose metadata was damaged, cut or restored: no acknowledged change is lost silently."""

import errno
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.unit.stores import add, aside, killed, stage, stored, whole_plans
from trtserve.store.database_copy import CopyFile
from trtserve.store.opening import Opening
from trtserve.store.store import Store

DATABASE = "metadata.sqlite3"
WAL = f"{DATABASE}-wal"
COPY = "metadata.copy"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def left(root: Path, tmp_path: Path) -> Iterator[Path]:
    """The store of a killed server: three engines, one of them unloaded, and a name that was moved back."""
    store = Store(root)
    add(store, 1, "net", instances=3)
    add(store, 2, "net", max_batch_size=8, preferred_batch_sizes="4,8")
    gone = add(store, 9, "gone")
    store.forget_engine(gone.id)
    store.delete_plan(gone)
    third = add(store, 3, "other")
    store.point("net", 1)
    store.unload(third.id)
    yield killed(root, tmp_path / "left")
    store.close()


def state(store: Store) -> object:
    return store.engines(), store.names(), store.unloaded()


@pytest.fixture
def acknowledged(left: Path, tmp_path: Path) -> object:
    store = Store(killed(left, tmp_path / "undamaged"))
    assert store.notes == []
    expected = state(store)
    store.close()
    return expected


def frames(wal: bytes) -> list[int]:
    """The offsets of the frames of a write-ahead log, and of its end: sqlite.org/fileformat2.html."""
    (page,) = struct.unpack(">I", wal[8:12])
    return list(range(32, len(wal) + 1, 24 + page))


def test_a_cut_or_removed_log_loses_nothing(left: Path, tmp_path: Path, acknowledged: object) -> None:
    wal = (left / WAL).read_bytes()
    ends = frames(wal)
    assert len(ends) > 20
    for end in [None, 0, 16, *ends, *(end + 1000 for end in ends[:-1])]:
        root = killed(left, tmp_path / "cut")
        if end is None:
            (root / WAL).unlink()
        else:
            (root / WAL).write_bytes(wal[:end])
        store = Store(root)
        assert state(store) == acknowledged, end
        lost = end != ends[-1]
        assert [note for note in store.notes if "older than what was acknowledged" in note] == store.notes
        assert bool(store.notes) is lost, end
        assert whole_plans(root) == {engine.digest for engine in store.engines()}
        store.close()
        again = Store(root)
        assert (state(again), again.notes) == (acknowledged, [])
        again.close()


def test_a_log_with_a_flipped_byte_loses_nothing(left: Path, tmp_path: Path, acknowledged: object) -> None:
    wal = (left / WAL).read_bytes()
    ends = frames(wal)
    regions = [0, 9, 13, 17, 25, *(start + at for start in ends[:-1] for at in (0, 4, 9, 17, 30, 2000))]
    for at in regions:
        root = killed(left, tmp_path / "flipped")
        (root / WAL).write_bytes(wal[:at] + bytes([wal[at] ^ 0x10]) + wal[at + 1 :])
        store = Store(root)
        assert state(store) == acknowledged, at
        assert store.notes != [], at
        assert whole_plans(root) == {engine.digest for engine in store.engines()}
        store.close()


def test_without_log_and_copy_plans_without_a_row_are_set_aside(left: Path) -> None:
    plans = whole_plans(left)
    (left / WAL).unlink()
    (left / COPY).unlink()
    store = Store(left)
    assert (store.engines(), whole_plans(left)) == ([], plans)
    assert store.notes == ["The copy of the metadata is missing; it was rebuilt from the database."]
    assert aside(left) == sorted(f"{digest}.plan" for digest in plans)
    store.close()


def test_a_log_from_another_time_is_detected(
    root: Path, left: Path, tmp_path: Path, acknowledged: object
) -> None:
    """The database is from one moment and its log from another."""
    Store(older := killed(left, tmp_path / "older")).close()
    (left / DATABASE).write_bytes((older / DATABASE).read_bytes())
    store = Store(left)
    assert state(store) == acknowledged
    store.close()


def test_a_database_older_than_its_copy_is_brought_up_to_date_and_set_aside(
    root: Path, tmp_path: Path
) -> None:
    store = Store(root)
    add(store, 1, "net")
    store.close()
    backup = (root / DATABASE).read_bytes()
    store = Store(root)
    add(store, 2, "net")
    expected = state(store)
    store.close()
    (root / DATABASE).write_bytes(backup)

    store = Store(root)
    assert state(store) == expected
    assert "older than what was acknowledged (change 1 of 2)" in store.notes[0]
    assert aside(root) == [DATABASE]
    store.close()
    assert (root / "set-aside" / DATABASE).read_bytes() == backup


def test_an_older_database_is_used_on_request(root: Path) -> None:
    store = Store(root)
    add(store, 1, "net")
    expected = state(store)
    store.close()
    backup = (root / DATABASE).read_bytes()
    store = Store(root)
    later = add(store, 2, "net")
    store.close()
    (root / DATABASE).write_bytes(backup)

    store = Store(root, Opening.DATABASE)
    assert state(store) == expected
    assert aside(root) == [f"{later.digest}.plan"]
    store.close()
    again = Store(root)
    assert (state(again), again.notes) == (expected, [])
    again.close()


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "empty", "folder", "another store's"])
def test_a_damaged_copy_is_reported_and_made_anew(root: Path, tmp_path: Path, damage: str) -> None:
    store = Store(root)
    add(store, 1, "net")
    expected = state(store)
    store.close()
    copy = root / COPY
    whole = copy.read_bytes()
    copy.unlink()
    if damage == "folder":
        copy.mkdir()
    elif damage == "another store's":
        other = Store(tmp_path / "other")
        add(other, 5, "stranger")
        other.close()
        copy.write_bytes((tmp_path / "other" / COPY).read_bytes())
    elif damage != "missing":
        changed = {"cut": whole[:-9], "flipped": whole[:90] + b"#" + whole[91:], "empty": b""}
        copy.write_bytes(changed[damage])

    store = Store(root)
    assert state(store) == expected
    assert len(store.notes) == 1
    assert "The copy of the metadata" in store.notes[0]
    store.close()
    again = Store(root)
    assert (state(again), again.notes) == (expected, [])
    again.close()
    assert aside(root) == ([] if damage == "missing" else [COPY])


def test_a_flip_of_any_bit_of_the_copy_is_detected(root: Path) -> None:
    store = Store(root)
    add(store, 1, "net")
    expected = state(store)
    store.close()
    whole = (root / COPY).read_bytes()
    for at in range(0, 8 * len(whole), 61):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        (root / COPY).write_bytes(flipped)
        store = Store(root)
        assert state(store) == expected
        assert store.notes, at
        store.close()


def test_a_kill_between_commit_and_copy_keeps_the_commit(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    add(store, 1, "net")
    before = (root / COPY).read_bytes()
    add(store, 2, "net")
    left = killed(root, tmp_path / "left")
    expected = state(store)
    store.close()
    (left / COPY).write_bytes(before)
    again = Store(left)
    assert (state(again), again.notes) == (expected, [])
    again.close()


def test_a_failed_copy_is_logged_and_made_by_the_next_change(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(root)
    with monkeypatch.context() as patched:
        patched.setattr(CopyFile, "put", failing)
        first = add(store, 1, "net")
    assert "the copy of the metadata cannot be put in its place" in caplog.text
    assert store.engines() == [first]
    add(store, 2, "net")
    expected = state(store)
    store.close()
    (root / DATABASE).write_bytes(b"garbage")
    repaired = Store(root, Opening.REBUILD)
    assert state(repaired) == expected
    repaired.close()


def failing(_: object) -> None:
    raise OSError(errno.EIO, "the disk is broken")


@pytest.mark.parametrize("known", ["copy and database agree", "the copy is lost"])
def test_an_unacknowledged_upload_is_deleted_only_if_certain(root: Path, tmp_path: Path, known: str) -> None:
    store = Store(root)
    kept = add(store, 1)
    plan = stage(store, onnx_plan(2))
    store.adopt(plan, stored(plan))
    left = killed(root, tmp_path / "left")
    store.close()
    if known == "the copy is lost":
        (left / COPY).unlink()
    Store(left).close()
    plans = {kept.digest} if known == "copy and database agree" else {kept.digest, plan.digest}
    assert whole_plans(left) == plans
    assert list((left / "pending").iterdir()) == []


def test_an_intact_plan_without_a_mark_is_never_deleted(root: Path) -> None:
    store = Store(root)
    engine = add(store, 1)
    store.forget_engine(engine.id)
    store.close()
    (root / "pending" / engine.digest).unlink()
    Store(root).close()
    assert aside(root) == [f"{engine.digest}.plan"]
