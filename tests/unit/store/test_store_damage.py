"""A store whose metadata was damaged, cut or put back: nothing that was acknowledged is lost in silence.

Above 400 lines: the kinds of damage share what the fixtures make, and each has its case here.
"""

import errno
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.unit.stores import add, aside, killed, stage, stored, whole_plans
from trtserve.errors import Unavailable
from trtserve.store.database_copy import CopyFile
from trtserve.store.opening import DamagedDatabase, Opening
from trtserve.store.store import Store

DATABASE = "metadata.sqlite3"
WAL = f"{DATABASE}-wal"
COPY = "metadata.copy"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def left(root: Path, tmp_path: Path) -> Iterator[Path]:
    """What a killed server left: three engines, one of them unloaded, and a name that was moved back."""
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
    told = state(store)
    store.close()
    return told


def frames(wal: bytes) -> list[int]:
    """Where each frame of a write-ahead log begins, and the last one ends: sqlite.org/fileformat2.html."""
    (page,) = struct.unpack(">I", wal[8:12])
    return list(range(32, len(wal) + 1, 24 + page))


def test_a_log_that_was_cut_or_removed_loses_nothing(
    left: Path, tmp_path: Path, acknowledged: object
) -> None:
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


def test_without_log_and_copy_the_plans_that_no_row_knows_are_set_aside(left: Path) -> None:
    plans = whole_plans(left)
    (left / WAL).unlink()
    (left / COPY).unlink()
    store = Store(left)
    assert (store.engines(), whole_plans(left)) == ([], plans)
    assert store.notes == ["The copy of the metadata is missing; it was rebuilt from the database."]
    assert aside(left) == sorted(f"{digest}.plan" for digest in plans)
    store.close()


def test_a_log_of_another_time_is_noticed(
    root: Path, left: Path, tmp_path: Path, acknowledged: object
) -> None:
    """The database of one moment with the log of another."""
    Store(older := killed(left, tmp_path / "older")).close()
    (left / DATABASE).write_bytes((older / DATABASE).read_bytes())
    store = Store(left)
    assert state(store) == acknowledged
    store.close()


def test_a_database_that_is_older_than_its_copy_is_brought_up_to_date_and_kept(
    root: Path, tmp_path: Path
) -> None:
    store = Store(root)
    add(store, 1, "net")
    store.close()
    backup = (root / DATABASE).read_bytes()
    store = Store(root)
    add(store, 2, "net")
    told = state(store)
    store.close()
    (root / DATABASE).write_bytes(backup)

    store = Store(root)
    assert state(store) == told
    assert "older than what was acknowledged (change 1 of 2)" in store.notes[0]
    assert aside(root) == [DATABASE]
    store.close()
    assert (root / "set-aside" / DATABASE).read_bytes() == backup


def test_an_older_database_is_taken_where_that_is_wanted(root: Path) -> None:
    store = Store(root)
    add(store, 1, "net")
    told = state(store)
    store.close()
    backup = (root / DATABASE).read_bytes()
    store = Store(root)
    later = add(store, 2, "net")
    store.close()
    (root / DATABASE).write_bytes(backup)

    store = Store(root, Opening.DATABASE)
    assert state(store) == told
    assert aside(root) == [f"{later.digest}.plan"]
    store.close()
    again = Store(root)
    assert (state(again), again.notes) == (told, [])
    again.close()


@pytest.mark.parametrize("damage", ["missing", "cut", "flipped", "empty", "folder", "another store's"])
def test_a_damaged_copy_is_told_and_made_anew(root: Path, tmp_path: Path, damage: str) -> None:
    store = Store(root)
    add(store, 1, "net")
    told = state(store)
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
    assert state(store) == told
    assert len(store.notes) == 1
    assert "The copy of the metadata" in store.notes[0]
    store.close()
    again = Store(root)
    assert (state(again), again.notes) == (told, [])
    again.close()
    assert aside(root) == ([] if damage == "missing" else [COPY])


def test_every_bit_of_the_copy_is_guarded(root: Path) -> None:
    store = Store(root)
    add(store, 1, "net")
    told = state(store)
    store.close()
    whole = (root / COPY).read_bytes()
    for at in range(0, 8 * len(whole), 61):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        (root / COPY).write_bytes(flipped)
        store = Store(root)
        assert state(store) == told
        assert store.notes, at
        store.close()


def test_a_kill_between_commit_and_copy_keeps_what_was_committed(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    add(store, 1, "net")
    before = (root / COPY).read_bytes()
    add(store, 2, "net")
    left = killed(root, tmp_path / "left")
    told = state(store)
    store.close()
    (left / COPY).write_bytes(before)
    again = Store(left)
    assert (state(again), again.notes) == (told, [])
    again.close()


def test_a_copy_that_cannot_be_put_in_its_place_is_logged_and_made_by_the_next_change(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(root)
    with monkeypatch.context() as patched:
        patched.setattr(CopyFile, "put", failing)
        first = add(store, 1, "net")
    assert "the copy of the metadata cannot be put in its place" in caplog.text
    assert store.engines() == [first]
    add(store, 2, "net")
    told = state(store)
    store.close()
    (root / DATABASE).write_bytes(b"garbage")
    repaired = Store(root, Opening.REBUILD)
    assert state(repaired) == told
    repaired.close()


def failing(_: object) -> None:
    raise OSError(errno.EIO, "the disk is broken")


@pytest.mark.parametrize("known", ["copy and database agree", "the copy is lost"])
def test_an_upload_that_was_never_acknowledged_is_deleted_only_where_that_is_certain(
    root: Path, tmp_path: Path, known: str
) -> None:
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


def test_a_whole_plan_that_nobody_marked_is_never_deleted(root: Path) -> None:
    store = Store(root)
    engine = add(store, 1)
    store.forget_engine(engine.id)
    store.close()
    (root / "pending" / engine.digest).unlink()
    Store(root).close()
    assert aside(root) == [f"{engine.digest}.plan"]


# -- files that are no database of ours

BROKEN = {
    "garbage header": lambda whole: b"garbage!" * 2 + whole[16:],
    "cut to a page": lambda whole: whole[:4096],
    "cut within a page": lambda whole: whole[:6000],
    "empty": lambda whole: b"",
    "text": lambda whole: b"no database\n" * 1000,
    "zeros": lambda whole: bytes(len(whole)),
    "a page of zeros": lambda whole: whole[:4096] + bytes(4096) + whole[8192:],
    "a page of ones": lambda whole: whole[:4096] + b"\xff" * 4096 + whole[8192:],
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_broken_database_is_one_sentence_and_its_copy_brings_it_back(root: Path, damage: str) -> None:
    store = Store(root)
    add(store, 1, "net")
    add(store, 2, "net")
    told = state(store)
    store.close()
    path = root / DATABASE
    path.write_bytes(BROKEN[damage](path.read_bytes()))

    for _ in range(2):
        with pytest.raises(DamagedDatabase, match=r"trtserve store check"):
            Store(root)
    assert len(list((root / "plans").iterdir())) == 2

    repaired = Store(root, Opening.REBUILD)
    assert state(repaired) == told
    assert aside(root) == [DATABASE]
    repaired.close()
    again = Store(root)
    assert (state(again), again.notes) == (told, [])
    again.close()


def test_a_broken_database_without_its_copy_is_built_from_nothing_and_the_plans_are_kept(root: Path) -> None:
    store = Store(root)
    add(store, 1, "net")
    store.close()
    (root / DATABASE).write_bytes(b"no database\n" * 1000)
    (root / COPY).unlink()
    plans = whole_plans(root)
    repaired = Store(root, Opening.REBUILD)
    assert (repaired.engines(), whole_plans(root)) == ([], plans)
    repaired.close()


ALTERED = {
    "no table": "DROP TABLE version",
    "no column": "ALTER TABLE engine DROP COLUMN options",
    "another column": "ALTER TABLE engine ADD COLUMN more TEXT",
    "a view": "ALTER TABLE engine RENAME TO was; CREATE VIEW engine AS SELECT * FROM was",
    "an index": "ALTER TABLE name RENAME TO was; CREATE INDEX name ON was (current)",
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON engine BEGIN DELETE FROM engine; END",
    "a schema before": "PRAGMA user_version = 3",
    "no schema": "PRAGMA user_version = 0",
    "no version": "PRAGMA user_version = -7",
}


@pytest.mark.parametrize("altered", ALTERED)
def test_a_database_with_other_tables_is_one_sentence(root: Path, altered: str) -> None:
    store = Store(root)
    add(store, 1, "net")
    told = state(store)
    store.close()
    db = sqlite3.connect(root / DATABASE)
    db.executescript(ALTERED[altered])
    db.close()
    with pytest.raises(DamagedDatabase, match=r"trtserve store check"):
        Store(root)
    repaired = Store(root, Opening.REBUILD)
    assert state(repaired) == told
    repaired.close()


QUOTED = {
    "bytes that are no text": (b"    backend ", b'  "\xccbackend '),
    "a quote that ends nowhere": (b"    backend ", b'   "backend '),
    "what a terminal would obey": (b"    backend ", b"   \x1bbackend "),
}
"""SQLite quotes the damaged schema in its error: what of the file becomes what."""


@pytest.mark.parametrize("damage", QUOTED)
@pytest.mark.parametrize("copy", ["whole", "missing"])
def test_a_damaged_schema_is_one_short_sentence(root: Path, damage: str, copy: str) -> None:
    store = Store(root)
    add(store, 1, "net")
    told = state(store)
    store.close()
    plans = whole_plans(root)
    whole = (root / DATABASE).read_bytes()
    was, now = QUOTED[damage]
    assert len(was) == len(now)
    (root / DATABASE).write_bytes(whole.replace(was, now))
    if copy == "missing":
        (root / COPY).unlink()
    with pytest.raises(DamagedDatabase, match=r"trtserve store check") as refused:
        Store(root)
    sentence = str(refused.value)
    assert sentence.isprintable()
    assert len(sentence) < 500 + 2 * len(str(root))
    repaired = Store(root, Opening.REBUILD)
    assert state(repaired) == told or copy == "missing"
    assert whole_plans(root) == plans
    repaired.close()


@pytest.mark.parametrize("odd", [DATABASE, f"{DATABASE}-wal", "LOCK", "incoming", "plans", "pending"])
def test_a_file_in_place_of_a_folder_or_the_other_way_round_is_one_sentence(root: Path, odd: str) -> None:
    store = Store(root)
    add(store, 1, "net")
    store.close()
    path = root / odd
    if path.is_dir():
        path.rename(root / "moved")
        path.write_text("a file")
    else:
        path.unlink(missing_ok=True)
        path.mkdir()
    with pytest.raises(Unavailable, match=r"^[^\n]+\.$") as refused:
        Store(root)
    assert str(root) in str(refused.value)
