"""`trtserve store check` on a stopped store: its report, and --repair."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.fakes.plans import onnx_plan
from tests.unit.stores import add, aside, killed, stage, stored, whole_plans
from trtserve.cli.main import main
from trtserve.store.store import Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def check(root: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["store", "check", "--store", str(root), *options])


def everything(root: Path) -> dict[str, tuple[float, str]]:
    """The time and content of each file of the store."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in root.rglob("*")
        if path.is_file()
    }


def filled(root: Path) -> list[int]:
    """A store of two engines; their IDs."""
    store = Store(root)
    ids = [add(store, 1, "net").id, add(store, 2, "net").id]
    store.close()
    return ids


def test_a_sound_store_is_reported_as_such(root: Path) -> None:
    filled(root)
    before = everything(root)
    result = check(root)
    assert (result.exit_code, result.output) == (0, f"The store {root} is in order.\n")
    assert everything(root) == before


def test_a_folder_that_is_not_a_store_is_reported(tmp_path: Path) -> None:
    for options in ([], ["--repair"]):
        result = check(tmp_path / "nothing", *options)
        assert result.exit_code == 1
        assert "There is no store at" in result.output
        assert not (tmp_path / "nothing").exists()


def test_a_store_in_use_by_a_server_is_refused(root: Path) -> None:
    store = Store(root)
    for options in ([], ["--repair"]):
        result = check(root, *options)
        assert result.exit_code == 1
        assert "in use by another server" in result.output
    store.close()


def test_every_kind_of_damage_is_explained_and_nothing_is_changed(root: Path) -> None:
    first, second = filled(root)
    store = Store(root)
    third = add(store, 3)
    store.close()
    plans = sorted((root / "plans").iterdir())
    by_id = {int(path.name[:13], 16): path for path in plans}
    by_id[first].write_bytes(b"another")
    by_id[second].unlink()
    (root / "plans" / f"{'a' * 64}.plan").write_bytes(b"no plan of this digest")
    (root / "set-aside").mkdir()
    shutil.copyfile(by_id[third.id], root / "set-aside" / by_id[third.id].name)
    (root / "set-aside" / "metadata.sqlite3").write_bytes(b"old")
    before = everything(root)

    result = check(root)
    assert result.exit_code == 1
    assert f"wrong: Engine {first} is not served: Its plan in the store has 7 bytes" in result.output
    assert f"wrong: Engine {second} is not served: Its plan in the store cannot be read" in result.output
    assert f"wrong: plans/{'a' * 64}.plan is not a whole plan" in result.output
    assert f"note: set-aside/{by_id[third.id].name} is a second copy of an engine's plan" in result.output
    assert "note: set-aside/metadata.sqlite3 is kept until you delete it." in result.output
    assert "note: 2 files (0.0 MB) are set aside." in result.output
    assert everything(root) == before


def test_plans_without_a_row_are_served_again_with_default_options(root: Path) -> None:
    ids = filled(root)
    (root / "metadata.sqlite3").unlink()
    (root / "metadata.copy").unlink()
    before = everything(root)
    looked = check(root)
    assert looked.exit_code == 1
    assert "missing or empty beside 2 plans" in looked.output
    assert looked.output.count("without a row: --repair serves it again") == 2
    assert everything(root) == before

    repaired = check(root, "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert repaired.output.count("its names are lost") == 2
    assert aside(root) == []
    store = Store(root)
    assert [engine.id for engine in store.engines()] == sorted(ids)
    assert {engine.options.max_queue_size for engine in store.engines()} == {256}
    assert store.names() == {}
    store.close()
    assert check(root).exit_code == 0


def test_an_unreadable_database_is_rebuilt_from_its_copy(root: Path) -> None:
    filled(root)
    store = Store(root)
    original = store.engines(), store.names()
    store.close()
    (root / "metadata.sqlite3").write_bytes(b"garbage" * 999)
    looked = check(root)
    assert looked.exit_code == 1
    assert f"The store's metadata in {root / 'metadata.sqlite3'} cannot be used" in looked.output

    repaired = check(root, "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert "repaired: The database was rebuilt from its copy." in repaired.output
    store = Store(root)
    assert (store.engines(), store.names(), store.notes) == (*original, [])
    store.close()


@pytest.mark.parametrize("there", ["damaged", "a folder"])
def test_a_plan_that_was_set_aside_returns_to_its_engine(root: Path, there: str) -> None:
    first, _ = filled(root)
    store = Store(root)
    engine = next(engine for engine in store.engines() if engine.id == first)
    place = store.plan_path(engine)
    store.close()
    (root / "set-aside").mkdir()
    (root / "set-aside" / "0").write_bytes(b"first in the folder, and of no plan")
    shutil.copyfile(place, root / "set-aside" / place.name)
    place.write_bytes(b"damaged")
    if there == "a folder":
        place.unlink()
        place.mkdir()
    repaired = check(root, "--repair")
    assert repaired.exit_code == 0, repaired.output
    assert f"Engine {first} has its plan again" in repaired.output
    assert len(whole_plans(root)) == 2
    assert aside(root) == (["0"] if there == "damaged" else ["0", f"{place.name}.2"])


@pytest.mark.parametrize("wanted", ["the copy", "the database"])
def test_an_older_database_is_brought_up_to_date_or_used_unchanged(root: Path, wanted: str) -> None:
    filled(root)
    backup = (root / "metadata.sqlite3").read_bytes()
    store = Store(root)
    third = add(store, 3, "net")
    store.close()
    (root / "metadata.sqlite3").write_bytes(backup)
    looked = check(root)
    assert looked.exit_code == 1
    assert "older than what was acknowledged (change 2 of 3)" in looked.output

    options = ["--repair"] if wanted == "the copy" else ["--repair", "--use-database"]
    repaired = check(root, *options)
    assert repaired.exit_code == 0, repaired.output
    store = Store(root)
    assert store.notes == []
    assert third.id in {engine.id for engine in store.engines()}
    assert store.names()["net"].current == (3 if wanted == "the copy" else 2)
    store.close()


def test_the_option_database_needs_repair(root: Path) -> None:
    filled(root)
    result = check(root, "--use-database")
    assert result.exit_code == 2
    assert "goes with --repair" in result.output


def test_a_store_left_by_a_killed_server_is_sound(root: Path, tmp_path: Path) -> None:
    """The last changes are only in the write-ahead log."""
    store = Store(root)
    add(store, 1, "net")
    left = killed(root, tmp_path / "left")
    store.close()
    assert (left / "metadata.sqlite3-wal").stat().st_size > 0
    assert check(left).output == f"The store {left} is in order.\n"


def test_an_engine_with_lost_options_is_reported(root: Path) -> None:
    first, second = filled(root)
    db = sqlite3.connect(root / "metadata.sqlite3")
    db.execute("UPDATE engine SET options = json_set(options, '$.precision', 'f99') WHERE id = ?", (first,))
    db.commit()
    db.close()
    (root / "metadata.copy").unlink()
    result = check(root)
    assert result.exit_code == 1
    assert f"wrong: Engine {first}: Its row in the metadata is damaged (precision)" in result.output
    assert f"Engine {second}: " not in result.output


@pytest.mark.parametrize("known", ["copy and database agree", "the copy is lost"])
def test_an_interrupted_change_is_a_note_only_if_certain(root: Path, tmp_path: Path, known: str) -> None:
    store = Store(root)
    add(store, 1)
    plan = stage(store, onnx_plan(2))
    store.adopt(plan, stored(plan))
    stage(store, onnx_plan(3))
    left = killed(root, tmp_path / "left")
    store.close()
    certain = known == "copy and database agree"
    if not certain:
        (left / "metadata.copy").unlink()
    result = check(left)
    assert "note: 2 files of unfinished uploads and removals (incoming/" in result.output
    assert (f"wrong: plans/{plan.digest}.plan is a whole onnx plan" in result.output) is not certain
    assert result.exit_code == (0 if certain else 1)


def under_another_name(path: Path) -> None:
    path.write_bytes(onnx_plan(7))


def link(path: Path) -> None:
    path.symlink_to(sorted(path.parent.iterdir())[0].name)


def test_files_set_aside_that_are_not_known_plans_are_left_alone(root: Path) -> None:
    ids = filled(root)
    words = b"whole, and no plan"
    (root / "set-aside").mkdir()
    named_so = f"{hashlib.sha256(words).hexdigest()}.plan"
    (root / "set-aside" / named_so).write_bytes(words)
    plan = onnx_plan(3)
    noted = f"{hashlib.sha256(plan).hexdigest()}.notes"
    (root / "set-aside" / noted).write_bytes(plan)
    for options in ([], ["--repair"], []):
        result = check(root, *options)
        assert result.exit_code == 0, result.output
    for name in (named_so, noted):
        assert f"note: set-aside/{name} is kept until you delete it." in result.output
    assert aside(root) == sorted([named_so, noted])
    store = Store(root)
    assert {engine.id for engine in store.engines()} == set(ids)
    store.close()


def test_a_folder_in_place_of_the_database_is_reported(root: Path) -> None:
    filled(root)
    (root / "metadata.sqlite3").unlink()
    (root / "metadata.sqlite3").mkdir()
    result = check(root)
    assert result.exit_code == 1
    assert f"{root / 'metadata.sqlite3'} cannot be used: it is not a file" in result.output


@pytest.mark.parametrize("spoil", [under_another_name, link, Path.mkdir])
def test_a_plan_that_does_not_match_its_name_is_never_served(
    root: Path, spoil: Callable[[Path], None]
) -> None:
    ids = filled(root)
    name = f"{hashlib.sha256(onnx_plan(1)).hexdigest()[:-1]}x.plan".replace("x", "0")
    if (root / "plans" / name).exists():
        name = name.replace("0.plan", "1.plan")
    spoil(root / "plans" / name)
    assert f"wrong: plans/{name} is not a whole plan" in check(root).output
    assert check(root, "--repair").exit_code == 0
    assert aside(root) == [name]
    assert f"note: set-aside/{name} is kept until you delete it." in check(root).output
    store = Store(root)
    assert {engine.id for engine in store.engines()} == set(ids)
    store.close()


@pytest.mark.parametrize("folder", ["incoming", "pending"])
def test_a_file_in_place_of_a_folder_is_reported(root: Path, folder: str) -> None:
    filled(root)
    (root / folder).rmdir()
    (root / folder).write_text("mine")
    result = check(root)
    assert result.exit_code == 1
    assert f"wrong: {root / folder} is not a folder" in result.output


def test_a_repair_leaves_an_intact_plan_in_its_place(root: Path) -> None:
    filled(root)
    place = sorted((root / "plans").iterdir())[0]
    (root / "set-aside").mkdir()
    shutil.copyfile(place, root / "set-aside" / place.name)
    before = everything(root)
    assert check(root, "--repair").output.count("repaired") == 0
    assert aside(root) == [place.name]
    after = everything(root)
    assert [after[name] for name in before if name.startswith("plans")] == [
        before[name] for name in before if name.startswith("plans")
    ]


def test_a_copy_of_another_version_is_reported_and_not_read(root: Path) -> None:
    filled(root)
    copy = root / "metadata.copy"
    body = json.loads(copy.read_bytes().partition(b"\n")[2])
    anew = json.dumps({**body, "schema": 99, "engines": "another form"}).encode()
    copy.write_bytes(hashlib.sha256(anew).hexdigest().encode() + b"\n" + anew)
    result = check(root)
    assert "copy of the metadata belongs to another version of trtserve (schema 99)" in result.output
    store = Store(root)
    assert len(store.engines()) == 2
    assert aside(root) == ["metadata.copy"]
    store.close()
