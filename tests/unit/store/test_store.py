"""The store: its state after a crash at any step, and its lock."""

import errno
import hashlib
import os
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.stores import aside
from trtserve.errors import Conflict, Unavailable
from trtserve.options.engine_options import EngineOptions
from trtserve.store.database import StoredEngine, StoredName
from trtserve.store.staging import PlanWriter, StagedPlan, engine_id
from trtserve.store.store import Store


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
        options=EngineOptions(instances=2, max_queue_size=8),
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


def test_everything_survives_a_restart(root: Path) -> None:
    store = Store(root)
    first, second, nameless = add(store, b"first", "net"), add(store, b"second", "net"), add(store, b"third")
    store.close()

    again = Store(root)
    assert {engine.id for engine in again.engines()} == {first.id, second.id, nameless.id}
    assert first in again.engines()
    assert again.names() == {"net": StoredName(current=2, versions={1: first.id, 2: second.id})}


@pytest.mark.parametrize("steps", ["open", "write", "finish", "adopt"])
def test_an_interrupted_upload_leaves_nothing_after_a_restart(root: Path, steps: str) -> None:
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


def test_an_interrupted_removal_is_finished_after_a_restart(root: Path) -> None:
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
def test_a_foreign_file_is_left_alone(root: Path, name: str) -> None:
    Store(root).close()
    (root / name).write_text("mine")
    Store(root).close()
    assert (root / name).read_text() == "mine"


def test_a_store_with_plans_but_no_database_refuses_to_open_and_keeps_them(root: Path) -> None:
    store = Store(root)
    engine = add(store, b"the plan", "net")
    add(store, b"another")
    store.close()
    database = root / "metadata.sqlite3"
    kept = database.read_bytes()
    database.unlink()

    for _ in range(2):  # a refusal must not create a database for the next start to find
        with pytest.raises(Unavailable, match=r"metadata\.sqlite3 is missing or empty beside 2 plans"):
            Store(root)
    assert len(files(root)) == 2

    database.write_bytes(kept)
    again = Store(root)
    assert again.names() == {"net": StoredName(1, {1: engine.id})}
    again.check_plan(engine)


def test_a_store_whose_plans_and_database_were_moved_away_is_empty(root: Path) -> None:
    store = Store(root)
    engine = add(store, b"the plan")
    store.close()
    (root / "metadata.sqlite3").unlink()
    store.plan_path(engine).unlink()
    assert Store(root).engines() == []


@pytest.mark.parametrize("failing", ["fsync", "unlink"])
def test_a_disk_error_at_the_start_is_reported_and_leaves_nothing_open(
    root: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    store = Store(root)
    store.new_upload()  # a leftover to delete
    store.close()

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr(*((os, "fsync") if failing == "fsync" else (Path, "unlink")), fail)
        with pytest.raises(Unavailable, match=r"cannot be used: Input/output error") as refused:
            Store(root)
    # The traceback in `refused` keeps the half-made store alive, so the store itself closed its files.
    assert refused.tb is not None
    assert [file for file in open_files() if file.is_relative_to(root) and file.suffix != ".part"] == []
    Store(root).close()


def test_a_new_store_is_synced_with_its_parent_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)
    root = tmp_path / "new" / "store"
    Store(root).close()
    assert synced[:2] == [root.parent, tmp_path]
    assert root in synced
    synced.clear()
    Store(root).close()
    assert synced == [root]


def open_files() -> list[Path]:
    """The files that this process has open."""
    own = Path("/proc/self/fd")
    return [link.readlink() for link in own.iterdir() if link.is_symlink()]


def test_a_missing_or_shortened_plan_is_reported(root: Path) -> None:
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


def test_metadata_that_is_not_a_database_is_reported(root: Path) -> None:
    Store(root).close()
    for file in root.glob("metadata.sqlite3*"):
        file.write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable, match="cannot be used"):
        Store(root)


def test_a_store_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="Not a directory"):
        Store(tmp_path / "file" / "store")


def test_folders_with_foreign_names_are_left_alone(tmp_path: Path) -> None:
    Store(tmp_path).close()
    mine = [
        tmp_path / "plans" / "mine.plan",
        tmp_path / "plans" / f"{'a' * 64}.plan.x1Y2z3",
        tmp_path / "incoming" / "mine.part",
        tmp_path / "pending" / "mine",
    ]
    for path in mine:
        path.mkdir()
        (path / "file").write_bytes(b"mine")
    Store(tmp_path).close()
    assert all((path / "file").exists() for path in mine)


@pytest.mark.parametrize("odd", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_an_object_in_place_of_a_store_file_is_set_aside(tmp_path: Path, odd: Callable[[Path], None]) -> None:
    Store(tmp_path).close()
    there = [
        tmp_path / "plans" / f"{'a' * 64}.plan",
        tmp_path / "incoming" / f"{'b' * 32}.part",
        tmp_path / "pending" / ("c" * 64),
    ]
    for path in there:
        odd(path)
    Store(tmp_path).close()
    assert aside(tmp_path) == [path.name for path in there]
    Store(tmp_path).close()


def test_removing_a_version_leaves_no_mark_of_an_engine_that_stays(tmp_path: Path) -> None:
    store = Store(tmp_path)
    engine = add(store, b"plan", "net")
    add(store, b"plan", "other")
    store.forget_version("net", 1, engine.id)
    assert list((tmp_path / "pending").iterdir()) == []
    assert store.engines() == [engine]
    store.close()


# -- staging


def test_a_discarded_upload_leaves_nothing_and_accepts_no_more_bytes(tmp_path: Path) -> None:
    writer = PlanWriter(tmp_path)
    writer.write([b"some"])
    writer.discard()
    writer.write([b"more"])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path) -> None:
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
