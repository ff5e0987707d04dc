"""Options as the store keeps them: of the version before, of a later one, and damaged."""

import hashlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.unit.stores import add, aside, stage
from trtserve.options.engine_options import EngineOptions
from trtserve.store.database import StoredName
from trtserve.store.database_copy import Copy, CopyFile
from trtserve.store.schema import SCHEMA_VERSION, read_rows, seal
from trtserve.store.staging import engine_id
from trtserve.store.store import Store

DATA = Path(__file__).with_name("data")
DATABASE = "metadata.sqlite3"
COPY = "metadata.copy"

DIGESTS = [hashlib.sha256(onnx_plan(seed)).hexdigest() for seed in range(1, 5)]
IDS = list(map(engine_id, DIGESTS))
OPTIONS = [
    EngineOptions(device="cpu", instances=3, precision="bf16", max_batch_size=1),
    EngineOptions(
        max_batch_size=8,
        max_queue_delay_us="auto",
        latency_target_us=5000,
        preferred_batch_sizes="4,8",
        batch_dims="x:1,y:1",
    ),
    EngineOptions(max_batch_size=16, max_queue_delay_us="never", cuda_graphs="off"),
    EngineOptions(
        device="cuda:1", max_queue_size=7, max_batch_size=4, max_queue_delay_us=500, cuda_graphs="on"
    ),
]
"""What the engines of plans 1 to 4 have in the files of schema 5."""
NAMES = {"net": StoredName(1, {1: IDS[0], 2: IDS[1]}), "other": StoredName(1, {1: IDS[2]})}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def before(root: Path) -> Path:
    """A store as schema 5 left it: `net` (two versions, first current), `other` (unloaded), one unnamed."""
    (root / "plans").mkdir(parents=True)
    shutil.copyfile(DATA / "metadata-5.sqlite3", root / DATABASE)
    shutil.copyfile(DATA / "metadata-5.copy", root / COPY)
    for seed, digest in enumerate(DIGESTS, 1):
        (root / "plans" / f"{digest}.plan").write_bytes(onnx_plan(seed))
    return root


def check_whole(store: Store) -> None:
    """All that the files of schema 5 hold."""
    assert [engine.id for engine in store.engines()] == IDS
    assert [engine.options for engine in store.engines()] == OPTIONS
    assert [engine.damage for engine in store.engines()] == [""] * 4
    assert store.names() == NAMES
    assert store.unloaded() == {IDS[2]}
    for engine in store.engines():
        store.check_plan(engine)


def edit(root: Path, change: str, *values: object) -> None:
    with sqlite3.connect(root / DATABASE) as db:
        db.execute(change, values)
    db.close()


def schema(root: Path) -> int:
    db = sqlite3.connect(root / DATABASE)
    (found,) = db.execute("PRAGMA user_version").fetchone()
    db.close()
    return int(found)


@pytest.mark.parametrize("copy", [True, False])
def test_a_store_of_the_version_before_opens_as_it_is(before: Path, copy: bool) -> None:
    if not copy:
        (before / COPY).unlink()
    for opened in range(2):
        store = Store(before)
        assert store.notes == [] if copy or opened else len(store.notes) == 1
        check_whole(store)
        store.close()
    assert schema(before) == SCHEMA_VERSION
    assert aside(before) == []
    copied = CopyFile(before / COPY, SCHEMA_VERSION).read()
    assert copied is not None
    assert all(row.keys().isdisjoint(EngineOptions.model_fields) for row in copied.rows.engines)


def test_a_store_of_the_version_before_takes_changes_and_keeps_them(before: Path) -> None:
    store = Store(before)
    fifth = add(store, 5, "net", max_batch_size=2)
    store.close()
    store = Store(before)
    assert store.notes == []
    assert fifth in store.engines()
    assert store.names()["net"] == StoredName(3, {1: IDS[0], 2: IDS[1], 3: fifth.id})
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "instances = 7",
        "precision = 'f33'",
        "max_queue_delay_us = X'FF00'",
        "batch_dims = CAST(X'78FF3A31' AS TEXT)",
        "digest = 'd27d'",
        "loaded = 0",
    ],
)
def test_a_damaged_database_of_the_version_before_is_put_right_from_its_copy(
    before: Path, change: str
) -> None:
    edit(before, f"UPDATE engine SET {change} WHERE id = ?", IDS[1])
    store = Store(before)
    assert "repaired from its copy" in store.notes[0]
    assert f"differed in {IDS[1]}" in store.notes[0]
    check_whole(store)
    store.close()
    assert aside(before) == [DATABASE]
    store = Store(before)
    assert store.notes == []
    check_whole(store)
    store.close()


def test_a_database_of_the_version_before_that_lost_its_log_is_brought_up_to_its_copy(before: Path) -> None:
    edit(before, "DELETE FROM version WHERE name = 'other'")
    edit(before, "DELETE FROM name WHERE name = 'other'")
    edit(before, "UPDATE store SET generation = 1")
    store = Store(before)
    assert len(store.notes) == 1
    check_whole(store)
    store.close()


def test_a_database_of_the_version_before_with_a_flipped_bit_is_written_anew(before: Path) -> None:
    path = before / DATABASE
    whole = path.read_bytes()
    at = whole.index(DIGESTS[0].encode())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    store = Store(before)
    assert len(store.notes) == 2
    check_whole(store)
    store.close()


def test_an_option_of_the_version_before_that_is_lost_with_the_copy_is_told(before: Path) -> None:
    (before / COPY).unlink()
    edit(before, "UPDATE engine SET precision = 'f33', instances = -1 WHERE id = ?", IDS[1])
    for _ in range(2):
        store = Store(before)
        damage = {engine.id: engine.damage for engine in store.engines()}
        assert "damaged (instances, precision): upload its plan again" in damage.pop(IDS[1])
        assert set(damage.values()) == {""}
        assert store.names() == NAMES
        store.close()


# -- options that this version does not support


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("json_set(options, '$.colour', 'red')", "colour"),
        ("json_set(options, '$.precision', 'f8')", "precision"),
        ("json_set(options, '$.instances', '2')", "instances"),
        ("json_set(options, '$.preferred_batch_sizes', '8,4')", "preferred_batch_sizes"),
        ("json_set(options, '$.max_queue_delay_us', 1e99)", "max_queue_delay_us"),
        ("'[1, 2]'", "options"),
        ("'{'", "options"),
    ],
)
@pytest.mark.parametrize("whole", [True, False])
def test_an_engine_with_options_that_are_not_supported_is_damaged_and_no_other(
    root: Path, change: str, named: str, whole: bool
) -> None:
    store = Store(root)
    plan, other = add(store, 1, "net"), add(store, 2, "net")
    store.close()
    edit(root, f"UPDATE engine SET options = {change} WHERE id = ?", plan.id)
    (root / COPY).unlink()
    if whole:
        sealed_anew(root)

    for _ in range(2):
        store = Store(root)
        damaged = next(engine for engine in store.engines() if engine.id == plan.id)
        assert f"({named})" in damaged.damage
        assert "upload its plan again, with the options that it is to have" in damaged.damage
        assert ("does not support" in damaged.damage) is whole
        assert other in store.engines()
        assert store.names() == {"net": StoredName(2, {1: plan.id, 2: other.id})}
        store.close()

    store = Store(root)
    store.adopt(stage(store, onnx_plan(1)), plan)
    store.commit(plan, "net")
    assert plan in store.engines()
    store.close()


def test_an_option_that_is_newer_than_the_row_has_its_default(root: Path) -> None:
    store = Store(root)
    plan = add(store, 1, "net", instances=2)
    store.close()
    edit(root, "UPDATE engine SET options = json_remove(options, '$.cuda_graphs') WHERE id = ?", plan.id)
    sealed_anew(root)
    store = Store(root)
    assert store.engines() == [plan]
    store.close()


def sealed_anew(root: Path) -> None:
    """As another version of the server writes its rows: with a checksum, and the copy."""
    db = sqlite3.connect(root / DATABASE, isolation_level=None)
    store, generation = db.execute("SELECT id, generation FROM store").fetchone()
    rows = read_rows(db)
    seal(db, rows, store, generation)
    db.close()
    copy = CopyFile(root / COPY, SCHEMA_VERSION)
    copy.prepare(Copy(store, generation, rows))
    copy.put()
