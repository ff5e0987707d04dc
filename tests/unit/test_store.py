"""The store: what holds after a crash at any step, and who may have it open."""

import errno
import hashlib
import os
import resource
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.errors import Conflict, Unavailable
from service.metadata import Metadata, StoredEngine, StoredName
from service.staging import PlanWriter, StagedPlan, engine_id
from service.store import Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def stage(store: Store, plan: bytes) -> StagedPlan:
    writer = store.new_upload()
    writer.write([plan[:3], plan[3:]])
    return writer.finish()


def stored(plan: StagedPlan) -> StoredEngine:
    return StoredEngine(
        id=engine_id(plan.digest),
        digest=plan.digest,
        format="onnx",
        backend="openvino",
        device="auto",
        instances=2,
        max_queue_size=8,
        precision="f32",
        cuda_graphs="auto",
        plan_bytes=plan.size,
        created="2030-01-01T00:00:00+00:00",
    )


def files(root: Path) -> list[str]:
    """Names of the plans and parts in the store."""
    return sorted(path.name for folder in ("incoming", "plans") for path in (root / folder).iterdir())


def add(store: Store, plan: bytes, name: str | None = None) -> StoredEngine:
    staged = stage(store, plan)
    engine = stored(staged)
    store.adopt(staged, engine)
    store.commit(engine, name)
    return engine


def test_the_engine_id_is_the_first_52_bits_of_the_digest() -> None:
    assert engine_id("0123456789abcdef" + 48 * "0") == 0x0123456789ABC
    assert engine_id("f" * 64) == 2**52 - 1


def test_a_plan_is_named_by_the_digest_of_its_bytes(root: Path) -> None:
    store = Store(root)
    engine = add(store, b"the plan")
    assert engine.digest == hashlib.sha256(b"the plan").hexdigest()
    assert store.plan_path(engine).read_bytes() == b"the plan"
    assert files(root) == [f"{engine.digest}.plan"]


def test_everything_is_there_after_a_restart(root: Path) -> None:
    store = Store(root)
    first, second, nameless = add(store, b"first", "net"), add(store, b"second", "net"), add(store, b"third")
    store.close()

    again = Store(root)
    assert {engine.id for engine in again.engines()} == {first.id, second.id, nameless.id}
    assert first in again.engines()
    assert again.names() == {"net": StoredName(current=2, versions={1: first.id, 2: second.id})}


@pytest.mark.parametrize("steps", ["open", "write", "finish", "adopt"])
def test_an_upload_that_was_cut_off_leaves_nothing_after_a_restart(root: Path, steps: str) -> None:
    store = Store(root)
    kept = add(store, b"kept")
    writer = store.new_upload()
    if steps != "open":
        writer.write([b"half of a plan"])
    if steps in {"finish", "adopt"}:
        plan = writer.finish()
        if steps == "adopt":
            store.adopt(plan, stored(plan))
    assert len(files(root)) == 2
    store.close()

    assert Store(root).engines() == [kept]
    assert files(root) == [f"{kept.digest}.plan"]


def test_a_removal_that_was_cut_off_is_finished_after_a_restart(root: Path) -> None:
    store = Store(root)
    engine = add(store, b"plan", "net")
    store.forget_engine(engine.id)
    store.close()

    again = Store(root)
    assert again.engines() == []
    assert again.names() == {}
    assert files(root) == []


@pytest.mark.parametrize(
    "name",
    ["plans/README", "plans/lenet.plan", f"plans/{'A' * 64}.plan", "incoming/film.part"],
)
def test_a_file_that_is_not_the_stores_own_is_left_alone(root: Path, name: str) -> None:
    Store(root).close()
    (root / name).write_text("mine")
    Store(root).close()
    assert (root / name).read_text() == "mine"


def test_plans_whose_database_is_missing_are_kept_until_a_person_has_looked(root: Path) -> None:
    store = Store(root)
    engine = add(store, b"the plan", "net")
    add(store, b"another")
    store.close()
    database = root / "metadata.sqlite3"
    kept = database.read_bytes()
    database.unlink()

    for _ in range(2):  # refusing must not make the database that the next start would find
        with pytest.raises(Unavailable, match=r"metadata\.sqlite3 is missing or empty beside 2 plans"):
            Store(root)
    assert len(files(root)) == 2

    database.write_bytes(kept)
    again = Store(root)
    assert again.names() == {"net": StoredName(1, {1: engine.id})}
    again.check_plan(engine)


def test_plans_that_were_moved_away_with_their_database_leave_an_empty_store(root: Path) -> None:
    store = Store(root)
    engine = add(store, b"the plan")
    store.close()
    (root / "metadata.sqlite3").unlink()
    store.plan_path(engine).unlink()
    assert Store(root).engines() == []


@pytest.mark.parametrize("failing", ["fsync", "unlink"])
def test_a_start_that_the_disk_fails_is_told_and_leaves_nothing_open(
    root: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    store = Store(root)
    store.new_upload()  # a leftover: there is something to delete
    store.close()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(*((os, "fsync") if failing == "fsync" else (Path, "unlink")), fail)
        with pytest.raises(Unavailable, match=r"cannot be used: Input/output error") as refused:
            Store(root)
    # The traceback in `refused` still holds the half-made store: what is closed was closed by it.
    assert refused.tb is not None
    assert [file for file in open_files() if file.is_relative_to(root) and file.suffix != ".part"] == []
    Store(root).close()


def open_files() -> list[Path]:
    """The files that this process has open."""
    own = Path("/proc/self/fd")
    return [link.readlink() for link in own.iterdir() if link.is_symlink()]


def test_a_plan_that_vanished_or_shrank_is_told(root: Path) -> None:
    store = Store(root)
    engine = add(store, b"a plan")
    store.check_plan(engine)
    store.plan_path(engine).write_bytes(b"a pl")
    with pytest.raises(Unavailable, match="4 bytes instead of 6"):
        store.check_plan(engine)
    store.plan_path(engine).unlink()
    with pytest.raises(Unavailable, match="No such file"):
        store.check_plan(engine)


def test_a_second_server_on_the_store_is_refused(root: Path) -> None:
    first = Store(root)
    with pytest.raises(Conflict, match=r"in use by another server \(process \d+\)"):
        Store(root)
    first.close()
    Store(root).close()


def test_a_store_of_a_newer_version_is_refused(root: Path) -> None:
    Store(root).close()
    with sqlite3.connect(root / "metadata.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(Unavailable, match="written by a newer trtserve"):
        Store(root)


def test_metadata_that_is_no_database_is_told(root: Path) -> None:
    Store(root).close()
    for file in root.glob("metadata.sqlite3*"):
        file.write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable, match="cannot be used"):
        Store(root)


def test_a_store_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="Not a directory"):
        Store(tmp_path / "file" / "store")


# -- names and versions


@pytest.fixture
def metadata(tmp_path: Path) -> Metadata:
    return Metadata(tmp_path / "metadata.sqlite3")


BATCHED: dict[str, Any] = {
    "max_batch_size": 8,
    "max_queue_delay_us": "auto",
    "latency_target_us": 5_000,
    "preferred_batch_sizes": "4,8",
    "batch_dims": "x:1,y:1",
}


def engine(id: int) -> StoredEngine:
    created = f"2030-01-0{id}"
    return StoredEngine(id, f"digest-{id}", "onnx", "openvino", "auto", 1, 8, "f32", "auto", 10, created)


def test_a_new_plan_under_a_name_is_its_next_version(metadata: Metadata) -> None:
    metadata.add(engine(1), "net")
    assert metadata.add(engine(2), "net") == {"net": StoredName(2, {1: 1, 2: 2})}


def test_a_plan_that_the_name_has_is_current_again_without_a_new_version(metadata: Metadata) -> None:
    metadata.add(engine(1), "net")
    metadata.add(engine(2), "net")
    assert metadata.add(engine(1), "net") == {"net": StoredName(1, {1: 1, 2: 2})}


def test_an_engine_may_have_several_names(metadata: Metadata) -> None:
    metadata.add(engine(1), None)
    metadata.add(engine(1), "a")
    assert metadata.add(engine(1), "b") == {"a": StoredName(1, {1: 1}), "b": StoredName(1, {1: 1})}
    assert metadata.engines() == [engine(1)]


def test_a_name_falls_back_to_its_newest_version_and_then_vanishes(metadata: Metadata) -> None:
    for id in (1, 2, 3):
        metadata.add(engine(id), "net")
    assert metadata.remove_version("net", 3) == {"net": StoredName(2, {1: 1, 2: 2})}
    assert metadata.remove_version("net", 1) == {"net": StoredName(2, {2: 2})}
    assert metadata.remove_version("net", 2) == {}
    assert metadata.engines() == []


def test_a_version_number_is_not_given_twice(metadata: Metadata) -> None:
    metadata.add(engine(1), "net")
    metadata.add(engine(2), "net")
    metadata.remove_version("net", 2)
    assert metadata.add(engine(3), "net") == {"net": StoredName(3, {1: 1, 3: 3})}


def test_an_engine_stays_while_a_version_points_to_it(metadata: Metadata) -> None:
    metadata.add(engine(1), "a")
    metadata.add(engine(1), "b")
    metadata.remove_version("a", 1)
    assert metadata.engines() == [engine(1)]
    metadata.remove_version("b", 1)
    assert metadata.engines() == []


def test_an_engine_takes_every_version_that_points_to_it_along(metadata: Metadata) -> None:
    metadata.add(engine(1), "a")
    metadata.add(engine(2), "a")
    metadata.add(engine(2), "b")
    assert metadata.remove_engine(2) == {"a": StoredName(1, {1: 1})}
    assert metadata.engines() == [engine(1)]


def test_an_engine_stood_up_anew_has_the_new_options(metadata: Metadata) -> None:
    metadata.add(engine(1), None)
    anew = StoredEngine(1, "digest-1", "onnx", "openvino", "cpu", 4, 9, "f16", "on", 10, "later", **BATCHED)
    metadata.add(anew, None)
    assert metadata.engines() == [replace(anew, created="2030-01-01")]


@pytest.mark.parametrize("delay", [0, 500, "auto"])
def test_a_queue_delay_is_kept_as_the_number_or_the_word(metadata: Metadata, delay: int | str) -> None:
    metadata.add(replace(engine(1), max_queue_delay_us=delay), None)
    (kept,) = metadata.engines()
    assert kept.max_queue_delay_us == delay


def test_a_version_may_ask_for_a_number_and_gets_no_smaller_one_than_the_next(metadata: Metadata) -> None:
    assert metadata.add(engine(1), "net", 5) == {"net": StoredName(5, {5: 1})}
    assert metadata.add(engine(2), "net", 2) == {"net": StoredName(6, {5: 1, 6: 2})}
    assert metadata.add(engine(1), "net", 9) == {"net": StoredName(5, {5: 1, 6: 2})}
    assert metadata.add(engine(3), "net") == {"net": StoredName(7, {5: 1, 6: 2, 7: 3})}


def test_a_name_is_moved_to_a_version_that_it_has_and_to_no_other(metadata: Metadata) -> None:
    metadata.add(engine(1), "net")
    metadata.add(engine(2), "net")
    metadata.add(engine(3), "other")
    assert metadata.point("net", 1)["net"] == StoredName(1, {1: 1, 2: 2})
    assert metadata.point("net", 3)["net"] == StoredName(1, {1: 1, 2: 2})
    assert metadata.point("net", 2)["net"] == StoredName(2, {1: 1, 2: 2})
    assert metadata.names()["other"] == StoredName(1, {1: 3})


def test_an_unloaded_engine_keeps_its_rows_until_it_is_added_again(metadata: Metadata) -> None:
    metadata.add(engine(1), "net")
    metadata.add(engine(2), None)
    metadata.unload(1)
    assert metadata.unloaded() == {1}
    assert metadata.engines() == [engine(1), engine(2)]
    assert metadata.names() == {"net": StoredName(1, {1: 1})}
    metadata.add(engine(1), None)
    assert metadata.unloaded() == set()


# -- staging


def test_a_discarded_upload_leaves_nothing_and_takes_no_more(tmp_path: Path) -> None:
    writer = PlanWriter(tmp_path)
    writer.write([b"some"])
    writer.discard()
    writer.write([b"more"])
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_is_told_and_nothing_stays(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer = PlanWriter(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(Unavailable, match="cannot be written to this server's store: File too large"):
            writer.write([b"x" * 1_000_000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    writer.discard()
    assert list(tmp_path.iterdir()) == []


LACKED = {1: ("cuda_graphs", *BATCHED, "loaded"), 2: (*BATCHED, "loaded"), 3: ("loaded",)}
"""Columns, by the version of the schema."""


def turn_back(path: Path, schema: int) -> None:
    """Make the database what an earlier version wrote."""
    with sqlite3.connect(path) as db:
        for column in LACKED[schema]:
            db.execute(f"ALTER TABLE engine DROP COLUMN {column}")
        db.execute(f"PRAGMA user_version = {schema}")
    db.close()


@pytest.mark.parametrize("schema", LACKED)
def test_a_database_of_an_earlier_schema_is_migrated_with_all_that_it_holds(
    tmp_path: Path, schema: int
) -> None:
    path = tmp_path / "metadata.sqlite3"
    metadata = Metadata(path)
    metadata.add(engine(1), "net")
    metadata.close()
    turn_back(path, schema)

    for _ in range(2):  # migrated once, and good from then on
        migrated = Metadata(path)
        assert migrated.engines() == [engine(1)]
        assert migrated.names() == {"net": StoredName(1, {1: 1})}
        assert migrated.unloaded() == set()
        migrated.close()


@pytest.mark.parametrize("schema", LACKED)
def test_a_migrated_database_takes_engines_as_a_new_one_does(tmp_path: Path, schema: int) -> None:
    path = tmp_path / "metadata.sqlite3"
    Metadata(path).close()
    turn_back(path, schema)

    migrated = Metadata(path)
    wanted = replace(engine(2), cuda_graphs="off", **BATCHED)
    migrated.add(wanted, None)
    assert migrated.engines() == [wanted]


def test_the_folder_of_a_load_that_was_killed_is_cleared(tmp_path: Path) -> None:
    Store(tmp_path).close()
    folder = tmp_path / "plans" / f"{'a' * 64}.plan.x1Y2z3"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"half")
    mine = tmp_path / "plans" / "mine.plan.folder"
    mine.mkdir()
    Store(tmp_path).close()
    assert not folder.exists()
    assert mine.exists()
