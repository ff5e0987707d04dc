"""Engines that are built here: their files, their rows, and what a start finds after every step."""

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.stores import aside, built, killed, stage, with_plan
from trtserve.cli.main import main
from trtserve.errors import Unavailable
from trtserve.options.build_options import BuildOptions
from trtserve.store.build_record import Build, Failure
from trtserve.store.database import StoredEngine
from trtserve.store.schema import SCHEMA_VERSION
from trtserve.store.staging import engine_id
from trtserve.store.store import Store

MODEL = b"an ONNX model"
DATA = Path(__file__).with_name("data")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def files(root: Path) -> set[str]:
    """Every file of the store that belongs to an engine or to work on one."""
    folders = ("incoming", "plans", "pending", "built", "timing")
    return {f"{folder}/{path.name}" for folder in folders for path in (root / folder).iterdir()}


def restarted(root: Path, tmp_path: Path) -> tuple[list[StoredEngine], set[str]]:
    """The engines and the files that a start finds after a kill now."""
    copy = killed(root, tmp_path / "killed")
    store = Store(copy)
    assert store.notes == []
    engines = store.engines()
    store.close()
    assert aside(copy) == []
    return engines, files(copy)


def test_the_identity_depends_on_the_model_and_the_options_and_not_on_the_plan() -> None:
    build = Build(source="ab" * 32, source_bytes=1, options=BuildOptions())
    assert build.digest == build.with_(plan="cd" * 32, target="TensorRT 11.1", source_bytes=2).digest
    assert build.digest != build.with_(source="cd" * 32).digest
    assert build.digest != build.with_(options=BuildOptions(precision="f16")).digest
    # Stored engines and the IDs that clients keep depend on this value: it must never change.
    assert engine_id(build.digest) == 0x7A1A1289BEB34


def test_a_kill_during_a_build_that_was_not_accepted_leaves_nothing(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    model = stage(store, MODEL)
    engine = built(model)
    assert restarted(root, tmp_path) == ([], set())
    store.adopt(model, engine)
    assert restarted(root, tmp_path) == ([], set())
    store.built.new_part().write_bytes(b"half a plan")
    assert restarted(root, tmp_path) == ([], set())
    with_plan(store, engine, b"a plan")
    assert restarted(root, tmp_path) == ([], set())
    store.close()


def test_a_kill_during_a_build_that_was_accepted_leaves_the_model_and_the_promise(
    root: Path, tmp_path: Path
) -> None:
    store = Store(root)
    model = stage(store, MODEL)
    engine = built(model)
    engine = replace(engine, build=engine.build and engine.build.with_(name="net", version=3))
    store.adopt(model, engine)
    store.commit(engine, None)
    source = f"built/{engine.digest}.onnx"
    assert restarted(root, tmp_path) == ([engine], {source})
    store.built.new_part().write_bytes(b"half a plan")
    assert restarted(root, tmp_path) == ([engine], {source})
    done = with_plan(store, engine, b"a plan")
    assert done.build is not None
    plan = f"built/{engine.digest}.{done.build.plan}.plan"
    assert restarted(root, tmp_path) == ([done], {source, plan})
    store.close()


def test_a_kill_during_a_rebuild_leaves_the_old_plan_until_the_new_one_is_committed(
    root: Path, tmp_path: Path
) -> None:
    store = Store(root)
    model = stage(store, MODEL)
    store.adopt(model, built(model))
    old = with_plan(store, built(model), b"the old plan")
    store.commit(old, "net")
    before = files(root)
    part = store.built.new_part()
    part.write_bytes(b"the new plan")
    assert restarted(root, tmp_path) == ([old], before)
    staged = store.built.stage(part)
    assert old.build is not None
    new = replace(old, build=old.build.with_(plan=staged.digest, target="T 2"), plan_bytes=staged.size)
    shutil.copyfile(part, store.plan_path(new))  # renamed, but not committed
    assert restarted(root, tmp_path) == (
        [old],
        before | {part.relative_to(root).as_posix()} - {f"incoming/{part.name}"},
    )
    store.adopt_built(staged, new)
    assert restarted(root, tmp_path)[0] == [new]
    assert {path.name for path in (root / "built").iterdir()} == {
        store.source_path(new).name,
        store.plan_path(new).name,
    }
    assert store.plan_path(new).read_bytes() == b"the new plan"
    store.close()


def test_a_removed_engine_leaves_no_file(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    model = stage(store, MODEL)
    store.adopt(model, built(model))
    engine = with_plan(store, built(model), b"a plan")
    store.commit(engine, "net")
    store.forget_engine(engine.id)
    assert restarted(root, tmp_path) == ([], set())
    store.delete_plan(engine)
    assert files(root) == set()
    store.close()


def test_two_engines_of_one_model_have_files_of_their_own(root: Path) -> None:
    store = Store(root)
    for precision in ("f32", "f16"):
        model = stage(store, MODEL)
        engine = built(model, options={"precision": precision})
        store.adopt(model, engine)
        store.commit(with_plan(store, engine, b"a plan"), None)
    first, second = store.engines()
    store.forget_engine(first.id)
    store.delete_plan(first)
    store.check_plan(second)
    store.check_source(second)
    store.close()


def test_a_failed_build_is_kept_with_its_reason(root: Path) -> None:
    store = Store(root)
    model = stage(store, MODEL)
    engine = built(model)
    store.adopt(model, engine)
    store.commit(engine, None)
    failure = Failure(kind="InvalidInput", message="No.", target="T 1")
    engine = replace(engine, build=engine.build and engine.build.with_(failure=failure))
    store.record_build(engine)
    store.close()
    store = Store(root)
    assert store.engines() == [engine]
    with pytest.raises(Unavailable, match="has not been built yet"):
        store.check_plan(engine)
    store.close()


def test_a_model_without_a_row_or_a_mark_is_set_aside_and_never_deleted(root: Path) -> None:
    Store(root).close()
    name = f"{'ab' * 32}.onnx"
    (root / "built" / name).write_bytes(MODEL)
    report = CliRunner().invoke(main, ["store", "check", "--store", str(root)])
    assert (report.exit_code, "is a model without a row" in report.output) == (1, True)
    Store(root).close()
    assert aside(root) == [name]


def test_a_half_written_timing_cache_is_deleted_and_a_whole_one_kept(root: Path) -> None:
    store = Store(root)
    whole = store.built.timing_cache("tensorrt8-H100")
    whole.write_bytes(b"timings")
    whole.with_name(f"{whole.name}.part").write_bytes(b"half")
    store.close()
    Store(root).close()
    assert list((root / "timing").iterdir()) == [whole]


@pytest.mark.parametrize(
    ("damage", "told", "code"),
    [
        (lambda store, engine: store.source_path(engine).write_bytes(b"?"), "cannot be built again", 1),
        (lambda store, engine: store.plan_path(engine).write_bytes(b"?"), "is built at the next start", 0),
        (lambda store, engine: store.plan_path(engine).unlink(), "is built at the next start", 0),
    ],
)
def test_a_check_says_what_becomes_of_damaged_files(
    root: Path, damage: Callable[[Store, StoredEngine], object], told: str, code: int
) -> None:
    store = Store(root)
    model = stage(store, MODEL)
    store.adopt(model, built(model))
    engine = with_plan(store, built(model), b"a plan")
    store.commit(engine, "net")
    damage(store, engine)
    store.close()
    report = CliRunner().invoke(main, ["store", "check", "--store", str(root)])
    assert (report.exit_code, told in report.output) == (code, True), report.output


@pytest.mark.parametrize("build", ["", "{", '{"source": "x"}', '{"new": 1}'])
def test_a_row_that_lost_its_build_with_the_copy_is_damaged_until_it_is_uploaded_again(
    root: Path, build: str
) -> None:
    store = Store(root)
    model = stage(store, MODEL)
    store.adopt(model, built(model))
    engine = with_plan(store, built(model), b"a plan")
    store.commit(engine, "net")
    store.close()
    (root / "metadata.copy").unlink()
    with sqlite3.connect(root / "metadata.sqlite3") as db:
        db.execute("UPDATE engine SET build = ?", (build,))
    db.close()
    store = Store(root)
    (found,) = store.engines()
    assert found.id == engine.id
    assert store.source_path(engine).is_file()
    assert found.damage or store.is_damaged(found)
    model = stage(store, MODEL)
    store.adopt(model, engine)
    store.commit(with_plan(store, engine, b"a plan"), None)
    store.check_plan(store.engines()[0])
    assert store.engines()[0].damage == ""
    store.close()


def test_a_database_that_is_lost_beside_models_is_not_replaced_with_an_empty_one(root: Path) -> None:
    store = Store(root)
    model = stage(store, MODEL)
    store.adopt(model, built(model))
    store.commit(built(model), None)
    store.close()
    for file in root.glob("metadata.*"):
        file.unlink()
    with pytest.raises(Unavailable, match="missing or empty beside 1 plans"):
        Store(root)


@pytest.mark.parametrize("copy", [True, False])
def test_a_store_of_schema_6_is_brought_up_to_date_with_all_its_rows(root: Path, copy: bool) -> None:
    root.mkdir()
    shutil.copyfile(DATA / "metadata-6.sqlite3", root / "metadata.sqlite3")
    if copy:
        shutil.copyfile(DATA / "metadata-6.copy", root / "metadata.copy")
    for opened in range(2):
        store = Store(root)
        assert store.notes == [] if copy or opened else len(store.notes) == 1
        engines, names = store.engines(), store.names()
        assert len(engines) == 4
        assert [engine.build for engine in engines] == [None] * 4
        assert {name: len(known.versions) for name, known in names.items()} == {"net": 2, "other": 1}
        assert len(store.unloaded()) == 1
        store.close()
    db = sqlite3.connect(root / "metadata.sqlite3")
    assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    db.close()
