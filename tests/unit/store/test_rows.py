"""Damaged rows: every bit of every column, with and without the copy of the metadata."""

import hashlib
import shutil
import sqlite3
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.plans import onnx_plan
from tests.unit.stores import add, aside, stage
from trtserve.store.database import StoredName
from trtserve.store.database_copy import Copy, CopyFile
from trtserve.store.measure import Measure
from trtserve.store.mending import Mending
from trtserve.store.opening import Beside, Decision, Found, Opening, decide, look
from trtserve.store.rows import Rows
from trtserve.store.schema import SCHEMA_VERSION, bring_up_to_date, seal, write_rows
from trtserve.store.staging import engine_id
from trtserve.store.store import Store

STORE = "0123456789abcdef"
DATA = Path(__file__).with_name("data")

FOUND = Found("", 0, True, Rows())  # of an older schema without a checksum

KEYS = {"engine": ["id"], "name": ["name"], "version": ["name", "version"], "store": []}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def rows(root: Path) -> Rows:
    """Two engines with every option set, and two names."""
    store = Store(root)
    add(store, 1, "net", max_batch_size=8, preferred_batch_sizes="4,8", batch_dims="x:1", device="cuda:1")
    measured = Measure(memory={"cpu": {"weights": 4096}}, cold_start_seconds=1.5)
    add(store, 2, "net", max_queue_delay_us="auto", measured=measured)
    add(store, 2, "other")
    store.point("net", 1)
    store.close()
    db = sqlite3.connect(root / "metadata.sqlite3")
    found, complaint = look(db, SCHEMA_VERSION)
    db.close()
    assert (found.whole, complaint) == (True, None)
    return found.rows


@pytest.fixture
def db(rows: Rows) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(":memory:", isolation_level=None)
    bring_up_to_date(db, 0)
    write_rows(db, rows)
    seal(db, rows, STORE, 7)
    yield db
    db.close()


def beside(rows: Rows) -> Beside:
    """The plan files: both exist and are ONNX models."""
    return Beside({row["digest"]: row["plan_bytes"] for row in rows.engines}, lambda _: "onnx")


def flips(value: Any) -> Iterator[Any]:
    """The value with each bit flipped as in the file; text as bytes."""
    if isinstance(value, int):
        for bit in range(64):
            yield struct.unpack("<q", struct.pack("<Q", (value & (2**64 - 1)) ^ 1 << bit))[0]
        return
    text = value.encode()
    for bit in range(8 * len(text)):
        flipped = bytearray(text)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def damaged(db: sqlite3.Connection) -> Iterator[str]:
    """Flip each bit of the first row of each table in turn; yield a description."""
    for table, keys in KEYS.items():
        names = [column[1] for column in db.execute(f"PRAGMA table_info({table})")]
        row = dict(zip(names, db.execute(f"SELECT * FROM {table}").fetchone(), strict=True))
        for column in names:
            for value in flips(row[column]):
                here = " AND ".join(f"{key} = :{key}" for key in keys) or "true"
                db.execute("BEGIN")
                mark = "CAST(:_ AS TEXT)" if isinstance(value, bytes) else ":_"
                try:
                    db.execute(f"UPDATE {table} SET {column} = {mark} WHERE {here}", {**row, "_": value})
                except sqlite3.IntegrityError:  # the key of another row
                    db.execute("ROLLBACK")
                    continue
                yield f"{table}.{column} = {value!r}"
                db.execute("ROLLBACK")


def test_with_the_copy_every_flipped_bit_is_reported_and_repaired(
    db: sqlite3.Connection, rows: Rows, tmp_path: Path
) -> None:
    file = CopyFile(tmp_path / "copy", SCHEMA_VERSION)
    file.prepare(Copy(STORE, 7, rows))
    file.put()
    count = 0
    for what in damaged(db):
        found, _ = look(db, SCHEMA_VERSION)
        decision = decide(found, file, beside(rows), Opening.USUAL, lambda: "new")
        assert decision.rows == rows, what
        assert (decision.store, decision.sound) == (STORE, False), what
        assert decision.notes, what
        count += 1
    assert count > 2000


def test_without_the_copy_every_flipped_bit_is_reported_and_every_engine_kept(
    db: sqlite3.Connection, rows: Rows, tmp_path: Path
) -> None:
    for what in damaged(db):
        decision = decision_without_copy(db, rows, tmp_path)
        assert decision.notes, what
        check_mended(decision.rows, rows, what)


def decision_without_copy(db: sqlite3.Connection, rows: Rows, folder: Path) -> Decision:
    found, _ = look(db, SCHEMA_VERSION)
    return decide(
        found, CopyFile(folder / "none", SCHEMA_VERSION), beside(rows), Opening.USUAL, lambda: "new"
    )


def check_mended(mended: Rows, rows: Rows, what: str) -> None:
    """Check that identities and formats are right, and options right, valid, or marked as damaged."""
    columns = ["id", "digest", "format", "backend"]
    assert [[row[c] for c in columns] for row in mended.engines] == [
        [row[c] for c in columns] for row in rows.engines
    ], what
    for name, current, newest in mended.names:
        versions = [version for of, version, _ in mended.versions if of == name]
        assert current in versions, what
        assert newest >= max(versions), what
    assert {engine for _, _, engine in mended.versions} <= {row["id"] for row in rows.engines}, what


@pytest.mark.parametrize("value", [None, b"\xff\x00", "nonsense", "", -1, 2**63 - 1, 1.5, "[1, {"])
def test_an_invalid_value_fails_at_most_its_own_engine(rows: Rows, value: Any, tmp_path: Path) -> None:
    """Values of types that STRICT tables refuse are included: the database may be handmade."""
    for column in rows.engines[0]:
        broken = Rows([{**rows.engines[0], column: value}, *rows.engines[1:]], rows.names, rows.versions)
        found = replace(FOUND, rows=broken)
        file = CopyFile(tmp_path / "none", SCHEMA_VERSION)
        decision = decide(found, file, beside(rows), Opening.USUAL, lambda: "new")
        check_mended(decision.rows, rows, f"{column} = {value!r}")
        assert decision.rows.engines[1] == rows.engines[1]
    for table in ("names", "versions"):
        for at in range(3):
            kept = [list(row) for row in getattr(rows, table)]
            kept[0][at] = value
            found = replace(FOUND, rows=replace(rows, **{table: kept}))
            decision = decide(found, file, beside(rows), Opening.USUAL, lambda: "new")
            check_mended(decision.rows, rows, f"{table} {at} = {value!r}")


OPTIONS = {
    "device": "cudb",
    "instances": 1 << 40,
    "max_queue_size": -8,
    "precision": "f33",
    "cuda_graphs": "autn",
    "max_batch_size": 0,
    "max_queue_delay_us": "autn",
    "latency_target_us": 0,
    "preferred_batch_sizes": "4,,8",
    "batch_dims": "x",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_engine_with_a_lost_option_is_kept_as_damaged_until_its_upload(root: Path, option: str) -> None:
    store = Store(root)
    plan, other = add(store, 1, "net"), add(store, 2, "net")
    store.close()
    (root / "metadata.copy").unlink()
    edit(
        root,
        f"UPDATE engine SET options = json_set(options, '$.{option}', ?) WHERE id = ?",
        OPTIONS[option],
        plan.id,
    )

    for _ in range(2):
        store = Store(root)
        damaged = next(engine for engine in store.engines() if engine.id == plan.id)
        assert f"damaged ({option}): upload its plan again" in damaged.damage
        assert other in store.engines()
        assert store.names() == {"net": StoredName(2, {1: plan.id, 2: other.id})}
        store.close()

    store = Store(root)
    store.adopt(stage(store, onnx_plan(1)), plan)
    store.commit(plan, "net")
    assert plan in store.engines()
    store.close()


def edit(root: Path, change: str, *values: Any) -> None:
    with sqlite3.connect(root / "metadata.sqlite3") as db:
        db.execute(change, values)
    db.close()


def test_an_edited_row_is_repaired_and_the_edited_database_kept(root: Path) -> None:
    store = Store(root)
    engine = add(store, 1, "net")
    store.close()
    edit(root, "UPDATE engine SET digest = ?", "0" * 64)
    store = Store(root)
    assert store.engines() == [engine]
    assert f"differed in {engine.id}" in store.notes[0]
    assert aside(root) == ["metadata.sqlite3"]
    store.close()


def test_a_bit_flipped_in_the_file_itself_is_repaired(root: Path) -> None:
    """The index does not match afterwards, which SQLite's own check detects."""
    store = Store(root)
    engine = add(store, 1, "net")
    store.close()
    path = root / "metadata.sqlite3"
    whole = path.read_bytes()
    at = whole.index(engine.digest.encode())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    store = Store(root)
    assert store.engines() == [engine]
    assert len(store.notes) == 2
    store.close()
    store = Store(root)
    assert store.notes == []
    store.close()


# -- a store of the previous version


@pytest.fixture
def before(root: Path) -> Path:
    """A store written with schema 4: `net` (two versions, first current), `other` (unloaded), one unnamed."""
    (root / "plans").mkdir(parents=True)
    shutil.copyfile(DATA / "metadata-4.sqlite3", root / "metadata.sqlite3")
    for seed in range(1, 5):
        plan = onnx_plan(seed)
        (root / "plans" / f"{digest_of(plan)}.plan").write_bytes(plan)
    return root


def digest_of(plan: bytes) -> str:
    """The SHA-256 of a plan, in hex."""
    return hashlib.sha256(plan).hexdigest()


def test_a_store_of_the_previous_version_opens_unchanged(before: Path) -> None:
    ids = [engine_id(digest_of(onnx_plan(seed))) for seed in range(1, 5)]
    for _ in range(2):
        store = Store(before)
        assert store.notes == []
        assert [engine.id for engine in store.engines()] == ids
        assert [engine.options.instances for engine in store.engines()] == [1, 2, 3, 4]
        assert store.engines()[1].options.max_queue_delay_us == "auto"
        assert store.names() == {
            "net": StoredName(1, {1: ids[0], 2: ids[1]}),
            "other": StoredName(1, {1: ids[2]}),
        }
        assert store.unloaded() == {ids[2]}
        for engine in store.engines():
            store.check_plan(engine)
        store.close()
    assert aside(before) == []


@pytest.mark.parametrize("column", ["id", "digest", "format", "backend", "created", "plan_bytes"])
def test_a_damaged_identity_from_the_previous_version_is_repaired_from_the_plan(
    before: Path, column: str
) -> None:
    digest = digest_of(onnx_plan(2))
    change = "id = id + 1" if column == "id" else f"{column} = ?"
    values = [] if column == "id" else [{"plan_bytes": -3}.get(column, "d27d")]
    edit(before, f"UPDATE engine SET {change} WHERE digest = ?", *values, digest)
    store = Store(before)
    assert len(store.notes) == 1
    assert column in store.notes[0]
    engine = next(engine for engine in store.engines() if engine.digest == digest)
    assert (engine.id, engine.format, engine.backend) == (engine_id(digest), "onnx", "openvino")
    assert (engine.plan_bytes, engine.damage) == (len(onnx_plan(2)), "")
    assert store.names()["net"].versions[2] == engine.id
    store.check_plan(engine)
    store.close()
    assert aside(before) == ["metadata.sqlite3"]


def test_a_dangling_name_from_the_previous_version_is_reported(before: Path) -> None:
    edit(before, "UPDATE name SET current = 9 WHERE name = 'net'")
    edit(before, "UPDATE version SET engine = 5 WHERE name = 'other'")
    store = Store(before)
    assert list(store.names()) == ["net"]
    assert store.names()["net"].current == 2
    assert len(store.notes) == 3
    store.close()


# -- rare kinds of damage


def test_two_states_of_one_change_are_reported_and_the_copy_wins(rows: Rows, tmp_path: Path) -> None:
    """This happens after a backup of one of the two files is restored and the server runs on."""
    other = Rows(rows.engines, [[*rows.names[0][:1], 2, 2], *rows.names[1:]], rows.versions)
    file = CopyFile(tmp_path / "copy", SCHEMA_VERSION)
    file.prepare(Copy(STORE, 7, other))
    file.put()
    decision = decide(Found(STORE, 7, True, rows), file, beside(rows), Opening.USUAL, lambda: "new")
    assert (decision.rows, decision.generation, decision.sound) == (other, 8, False)
    assert decision.notes != []


def test_a_copy_that_is_several_changes_behind_makes_the_state_uncertain(rows: Rows, tmp_path: Path) -> None:
    file = CopyFile(tmp_path / "copy", SCHEMA_VERSION)
    file.prepare(Copy(STORE, 5, rows))
    file.put()
    for generation, sound in ((6, True), (7, False), (1000, False)):
        found = Found(STORE, generation, True, rows)
        decision = decide(found, file, beside(rows), Opening.USUAL, lambda: "new")
        assert (decision.generation, decision.sound, decision.copied) == (generation, sound, False)


def mended(rows: Rows, format: str = "onnx") -> Mending:
    return Mending(rows, beside(rows).plans, lambda _: format)


def test_a_second_row_of_an_engine_is_dropped_and_reported(rows: Rows) -> None:
    first, second = rows.engines
    twice = Rows([first, second, {**second, "id": first["id"], "digest": first["digest"]}], [], [])
    mending = mended(twice)
    assert mending.rows.engines == [first, second]
    assert mending.notes == [f"Engine {first['id']} has two rows; the second was dropped."]


@pytest.mark.parametrize("format", ["onnx", "tensorrt"])
def test_a_lost_format_is_recovered_from_the_plan(rows: Rows, format: str) -> None:
    first, second = rows.engines
    mending = mended(Rows([{**first, "format": "omnx"}, second], [], []), format)
    assert mending.rows.engines[0]["format"] == format
    assert mending.rows.engines[0]["backend"] == {"onnx": "openvino", "tensorrt": "tensorrt"}[format]
    assert mending.rows.engines[1] == second


@pytest.mark.parametrize("loaded", [-1, 2, 2**40, None, "1"])
def test_an_engine_with_a_damaged_loaded_flag_is_loaded(rows: Rows, loaded: object) -> None:
    mending = mended(Rows([{**rows.engines[0], "loaded": loaded}], [], []))
    assert mending.rows.engines[0]["loaded"] == 1
    assert len(mending.notes) == 1


@pytest.mark.parametrize("name", ["", "../..", "a b", "a/b", "nä\n", "x" * 5000])
def test_an_invalid_name_is_dropped_and_reported(rows: Rows, name: str) -> None:
    id = rows.engines[0]["id"]
    mending = mended(Rows(rows.engines, [[name, 1, 1], ["good", 1, 1]], [[name, 1, id], ["good", 1, id]]))
    assert (mending.rows.names, mending.rows.versions) == ([["good", 1, 1]], [["good", 1, id]])
    assert mending.notes != []
