"""Files in the place of the store's database that are broken, or not a database of ours."""

import sqlite3
from pathlib import Path

import pytest

from tests.unit.stores import add, aside, whole_plans
from trtserve.errors import Unavailable
from trtserve.store.opening import DamagedDatabase, Opening
from trtserve.store.store import Store

DATABASE = "metadata.sqlite3"
WAL = f"{DATABASE}-wal"
COPY = "metadata.copy"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def state(store: Store) -> object:
    return store.engines(), store.names(), store.unloaded()


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
def test_a_broken_database_is_reported_in_one_sentence_and_restored_from_its_copy(
    root: Path, damage: str
) -> None:
    store = Store(root)
    add(store, 1, "net")
    add(store, 2, "net")
    expected = state(store)
    store.close()
    path = root / DATABASE
    path.write_bytes(BROKEN[damage](path.read_bytes()))

    for _ in range(2):
        with pytest.raises(DamagedDatabase, match=r"trtserve store check"):
            Store(root)
    assert len(list((root / "plans").iterdir())) == 2

    repaired = Store(root, Opening.REBUILD)
    assert state(repaired) == expected
    assert aside(root) == [DATABASE]
    repaired.close()
    again = Store(root)
    assert (state(again), again.notes) == (expected, [])
    again.close()


def test_a_broken_database_without_its_copy_is_rebuilt_empty_and_the_plans_are_kept(root: Path) -> None:
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
def test_a_database_with_other_tables_is_reported_in_one_sentence(root: Path, altered: str) -> None:
    store = Store(root)
    add(store, 1, "net")
    expected = state(store)
    store.close()
    db = sqlite3.connect(root / DATABASE)
    db.executescript(ALTERED[altered])
    db.close()
    with pytest.raises(DamagedDatabase, match=r"trtserve store check"):
        Store(root)
    repaired = Store(root, Opening.REBUILD)
    assert state(repaired) == expected
    repaired.close()


QUOTED = {
    "bytes that are not text": (b"    backend ", b'  "\xccbackend '),
    "an unterminated quote": (b"    backend ", b'   "backend '),
    "a terminal escape": (b"    backend ", b"   \x1bbackend "),
}
"""Replacements in the file: damage to the schema that SQLite quotes in its error."""


@pytest.mark.parametrize("damage", QUOTED)
@pytest.mark.parametrize("copy", ["whole", "missing"])
def test_a_damaged_schema_is_reported_in_one_short_sentence(root: Path, damage: str, copy: str) -> None:
    store = Store(root)
    add(store, 1, "net")
    expected = state(store)
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
    assert state(repaired) == expected or copy == "missing"
    assert whole_plans(root) == plans
    repaired.close()


@pytest.mark.parametrize("odd", [DATABASE, f"{DATABASE}-wal", "LOCK", "incoming", "plans", "pending"])
def test_a_file_and_a_folder_in_each_others_place_are_reported_in_one_sentence(root: Path, odd: str) -> None:
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
