"""The database of engines, names and versions, and migrations of older schemas."""

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trtserve.options.engine_options import EngineOptions
from trtserve.store.database import Database, StoredEngine, StoredName
from trtserve.store.measure import Measure, read_measure
from trtserve.store.rows import Exactly
from trtserve.store.schema import read_rows, seal


@pytest.fixture
def metadata(tmp_path: Path) -> Database:
    return Database(tmp_path / "metadata.sqlite3")


BATCHED: dict[str, Any] = {
    "max_batch_size": 8,
    "max_queue_delay_us": "auto",
    "latency_target_us": 5_000,
    "preferred_batch_sizes": "4,8",
    "batch_dims": "x:1,y:1",
}


MEASURE = Measure(memory={"cuda:0": {"weights": 4096, "contexts": 512}}, cold_start_seconds=1.5)
ONE = EngineOptions(instances=1, max_queue_size=8, max_batch_size=1)


def digest(id: int) -> str:
    return f"{id:013x}".ljust(64, "a")


def engine(id: int) -> StoredEngine:
    created = f"2030-01-0{id}"
    return StoredEngine(id, digest(id), "onnx", "openvino", ONE, 10, created)


def test_a_new_plan_under_a_name_becomes_its_next_version(metadata: Database) -> None:
    metadata.add(engine(1), "net")
    assert metadata.add(engine(2), "net") == {"net": StoredName(2, {1: 1, 2: 2})}


def test_a_known_plan_of_a_name_becomes_current_without_a_new_version(metadata: Database) -> None:
    metadata.add(engine(1), "net")
    metadata.add(engine(2), "net")
    assert metadata.add(engine(1), "net") == {"net": StoredName(1, {1: 1, 2: 2})}


def test_an_engine_can_have_several_names(metadata: Database) -> None:
    metadata.add(engine(1), None)
    metadata.add(engine(1), "a")
    assert metadata.add(engine(1), "b") == {"a": StoredName(1, {1: 1}), "b": StoredName(1, {1: 1})}
    assert metadata.engines() == [engine(1)]


def test_a_name_falls_back_to_its_newest_version_and_then_vanishes(metadata: Database) -> None:
    for id in (1, 2, 3):
        metadata.add(engine(id), "net")
    assert metadata.remove_version("net", 3, 3) == {"net": StoredName(2, {1: 1, 2: 2})}
    assert metadata.remove_version("net", 1, 1) == {"net": StoredName(2, {2: 2})}
    assert metadata.remove_version("net", 2, 2) == {}
    assert metadata.engines() == []


def test_a_version_number_is_never_reused(metadata: Database) -> None:
    metadata.add(engine(1), "net")
    metadata.add(engine(2), "net")
    metadata.remove_version("net", 2, 2)
    assert metadata.add(engine(3), "net") == {"net": StoredName(3, {1: 1, 3: 3})}


def test_a_version_that_is_another_engine_by_now_stays(metadata: Database) -> None:
    metadata.add(engine(1), "net")
    metadata.add(engine(2), "net", Exactly(1))
    assert metadata.remove_version("net", 1, 1) == {"net": StoredName(1, {1: 2})}
    assert metadata.engines() == [engine(2)]


def test_an_engine_can_become_exactly_one_version(metadata: Database) -> None:
    metadata.add(engine(3), "net", Exactly(3))
    assert metadata.add(engine(1), "net", Exactly(1)) == {"net": StoredName(3, {1: 1, 3: 3})}
    assert metadata.add(engine(4), "net", Exactly(3)) == {"net": StoredName(3, {1: 1, 3: 4})}
    assert metadata.add(engine(1), "net", Exactly(7)) == {"net": StoredName(7, {3: 4, 7: 1})}
    assert metadata.add(engine(5), "net") == {"net": StoredName(8, {3: 4, 7: 1, 8: 5})}


def test_an_engine_stays_while_a_version_points_to_it(metadata: Database) -> None:
    metadata.add(engine(1), "a")
    metadata.add(engine(1), "b")
    metadata.remove_version("a", 1, 1)
    assert metadata.engines() == [engine(1)]
    metadata.remove_version("b", 1, 1)
    assert metadata.engines() == []


def test_removing_an_engine_removes_every_version_that_points_to_it(metadata: Database) -> None:
    metadata.add(engine(1), "a")
    metadata.add(engine(2), "a")
    metadata.add(engine(2), "b")
    assert metadata.remove_engine(2) == {"a": StoredName(1, {1: 1})}
    assert metadata.engines() == [engine(1)]


def test_an_engine_added_again_has_the_new_options(metadata: Database) -> None:
    metadata.add(engine(1), None)
    options = EngineOptions(
        device="cpu", instances=4, max_queue_size=9, precision="f16", cuda_graphs="on", **BATCHED
    )
    anew = StoredEngine(1, digest(1), "onnx", "openvino", options, 10, "later")
    metadata.add(anew, None)
    assert metadata.engines() == [replace(anew, created="2030-01-01")]


@pytest.mark.parametrize("delay", [0, 500, "auto", "never"])
def test_a_queue_delay_is_stored_as_a_number_or_auto(metadata: Database, delay: int | str) -> None:
    metadata.add(replace(engine(1), options=EngineOptions(max_queue_delay_us=delay)), None)
    (kept,) = metadata.engines()
    assert kept.options.max_queue_delay_us == delay


def test_a_requested_version_number_below_the_next_is_raised_to_it(metadata: Database) -> None:
    assert metadata.add(engine(1), "net", 5) == {"net": StoredName(5, {5: 1})}
    assert metadata.add(engine(2), "net", 2) == {"net": StoredName(6, {5: 1, 6: 2})}
    assert metadata.add(engine(1), "net", 9) == {"net": StoredName(5, {5: 1, 6: 2})}
    assert metadata.add(engine(3), "net") == {"net": StoredName(7, {5: 1, 6: 2, 7: 3})}


def test_a_name_can_only_be_moved_to_one_of_its_versions(metadata: Database) -> None:
    metadata.add(engine(1), "net")
    metadata.add(engine(2), "net")
    metadata.add(engine(3), "other")
    assert metadata.point("net", 1)["net"] == StoredName(1, {1: 1, 2: 2})
    assert metadata.point("net", 3)["net"] == StoredName(1, {1: 1, 2: 2})
    assert metadata.point("net", 2)["net"] == StoredName(2, {1: 1, 2: 2})
    assert metadata.names()["other"] == StoredName(1, {1: 3})


def test_an_unloaded_engine_keeps_its_rows_until_it_is_added_again(metadata: Database) -> None:
    metadata.add(engine(1), "net")
    metadata.add(engine(2), None)
    metadata.unload(1)
    assert metadata.unloaded() == {1}
    assert metadata.engines() == [engine(1), engine(2)]
    assert metadata.names() == {"net": StoredName(1, {1: 1})}
    metadata.add(engine(1), None)
    assert metadata.unloaded() == set()


def test_what_engines_take_is_kept_in_their_rows_and_changes_nothing_else(metadata: Database) -> None:
    metadata.add(engine(1), "net")
    metadata.add(engine(2), None)
    metadata.unload(2)
    measured = replace(engine(1), measured=MEASURE, options=EngineOptions(instances=7))
    metadata.measured([measured, engine(3)])
    assert metadata.engines() == [replace(engine(1), measured=MEASURE), engine(2)]
    assert metadata.names() == {"net": StoredName(1, {1: 1})}
    assert metadata.unloaded() == {2}


@pytest.mark.parametrize(
    "text", ["", "{", '{"memory": 3}', '{"memory": {"cpu": {"weights": -1}}}', b"\xff", 7]
)
def test_a_measure_that_cannot_be_read_is_none(text: object) -> None:
    assert read_measure(text) is None


def test_a_measure_is_like_one_that_differs_little() -> None:
    def of(size: int, device: str = "cpu", cold: float | None = None) -> Measure:
        return Measure(memory={device: {"weights": size}}, cold_start_seconds=cold)

    assert of(1600).is_like(of(1700))
    assert of(1600, cold=1.0).is_like(of(1600, cold=9.0))
    assert not of(1600).is_like(of(1720))
    assert not of(1600).is_like(of(1600, "cuda:0"))
    assert not of(1600).is_like(of(1600, cold=1.0))
    assert not of(1600).is_like(None)


# -- earlier versions of the schema


def test_engines_of_a_schema_without_measures_are_migrated(tmp_path: Path) -> None:
    path = tmp_path / "metadata.sqlite3"
    metadata = Database(path)
    metadata.add(replace(engine(1), measured=MEASURE), "net")
    metadata.close()
    with sqlite3.connect(path, isolation_level=None) as db:
        rows = read_rows(db)
        for row in rows.engines:
            del row["measured"], row["uses"]
        store, generation = db.execute("SELECT id, generation FROM store").fetchone()
        db.execute("ALTER TABLE engine DROP COLUMN measured")
        db.execute("ALTER TABLE engine DROP COLUMN uses")
        seal(db, rows, store, generation)
        db.execute("PRAGMA user_version = 8")
    db.close()
    path.with_name("metadata.copy").unlink()
    migrated = Database(path)
    assert migrated.engines() == [engine(1)]
    migrated.measured([replace(engine(1), measured=MEASURE)])
    assert migrated.engines() == [replace(engine(1), measured=MEASURE)]
    migrated.close()


LACKED = {
    1: ("cuda_graphs", *BATCHED, "loaded", "damage"),
    2: (*BATCHED, "loaded", "damage"),
    3: ("loaded", "damage"),
    4: ("damage",),
}
"""The columns that each older schema lacks, by its version."""

NEWER = {"residency", "warm_up", "tensors", "labels"}  # options that never had a column


def turn_back(path: Path, schema: int) -> None:
    """Turn the database into one of an older schema."""
    with sqlite3.connect(path) as db:
        for option in EngineOptions.model_fields.keys() - NEWER:
            db.execute(f"ALTER TABLE engine ADD COLUMN {option} ANY")
            db.execute(f"UPDATE engine SET {option} = options ->> '{option}'")
        for column in ("options", "build", "batching", "measured", "uses", *LACKED[schema]):
            db.execute(f"ALTER TABLE engine DROP COLUMN {column}")
        db.execute("DROP TABLE store")
        db.execute(f"PRAGMA user_version = {schema}")
    db.close()
    path.with_name("metadata.copy").unlink()


@pytest.mark.parametrize("schema", LACKED)
def test_a_database_of_an_older_schema_is_migrated_with_all_its_rows(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "metadata.sqlite3"
    metadata = Database(path)
    metadata.add(engine(1), "net")
    metadata.close()
    turn_back(path, schema)

    for _ in range(2):  # migrated once, and unchanged at the next open
        migrated = Database(path)
        assert migrated.engines() == [engine(1)]
        assert migrated.names() == {"net": StoredName(1, {1: 1})}
        assert migrated.unloaded() == set()
        migrated.close()


@pytest.mark.parametrize("schema", LACKED)
def test_a_migrated_database_accepts_engines_like_a_new_one(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "metadata.sqlite3"
    Database(path).close()
    turn_back(path, schema)

    migrated = Database(path)
    wanted = replace(engine(2), options=EngineOptions(cuda_graphs="off", **BATCHED))
    migrated.add(wanted, None)
    assert migrated.engines() == [wanted]
