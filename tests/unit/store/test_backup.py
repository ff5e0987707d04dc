"""`trtserve store backup` of stores that a server has open, and `trtserve store gc`."""

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.fakes.plans import onnx_plan
from tests.unit.stores import add, aside, built, stage, with_plan
from trtserve.cli.main import main
from trtserve.errors import Unavailable
from trtserve.store import backup as backups
from trtserve.store.check import check
from trtserve.store.served_folder import ServedFile, ServedFolder, ServedModel
from trtserve.store.store import Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def run(command: str, root: Path, *words: str | Path) -> Result:
    return CliRunner().invoke(main, ["store", command, "--store", str(root), *map(str, words)])


def served(root: Path) -> dict[int, str]:
    """The engines of a store, opened as a server opens it: their IDs, and the SHA-256 of their plans."""
    store = Store(root)
    try:
        assert store.notes == []
        return {
            engine.id: hashlib.sha256(store.plan_path(engine).read_bytes()).hexdigest()
            for engine in store.engines()
        }
    finally:
        store.close()


def while_copying(monkeypatch: pytest.MonkeyPatch, change: Callable[[], None], after: int = 0) -> None:
    """Call `change` once, when `after` plans have been copied."""
    copy = backups._copy
    steps = [change, *[lambda: None] * after]

    def copy_after_change(root: Path, part: Path, file: backups._File) -> bool:
        if steps:
            steps.pop()()
        return copy(root, part, file)

    monkeypatch.setattr(backups, "_copy", copy_after_change)


def test_a_copy_knows_what_is_from_a_folder_of_models(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    add(store, 1, "net")
    model = ServedModel(config="stamp")
    served = ServedFolder(models={"net": model})
    ServedFile(root).write("net", model.model_dump_json())
    assert run("backup", root, tmp_path / "copy").exit_code == 0
    store.close()
    assert ServedFile(tmp_path / "copy").read() == served
    (tmp_path / "copy" / "folder.json").write_text("{")
    with pytest.raises(Unavailable, match="it is damaged"):
        ServedFile(tmp_path / "copy").read()


def test_an_open_store_is_copied_with_its_engines_names_and_plans(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    engines = [add(store, seed, f"net{seed}") for seed in range(3)]
    result = run("backup", root, tmp_path / "copy")
    names = store.names()
    store.close()
    assert result.exit_code == 0
    assert "has 3 engines" in result.output
    assert served(tmp_path / "copy") == {engine.id: engine.digest for engine in engines}
    copied = Store(tmp_path / "copy")
    assert copied.names() == names
    copied.close()
    assert check(tmp_path / "copy") == []


def test_a_plan_that_was_built_is_copied_with_its_model(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    model = stage(store, onnx_plan(1))
    engine = built(model)
    store.adopt(model, engine)
    engine = with_plan(store, engine, b"a plan")
    store.commit(engine, "net")
    assert run("backup", root, tmp_path / "copy").exit_code == 0
    store.close()
    assert served(tmp_path / "copy") == {engine.id: hashlib.sha256(b"a plan").hexdigest()}
    assert check(tmp_path / "copy") == []


def test_an_engine_that_is_removed_meanwhile_is_in_the_copy_wholly_or_not_at_all(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)
    removed, kept = add(store, 1, "a"), add(store, 2, "b")

    def remove() -> None:
        store.forget_engine(removed.id)
        store.delete_plan(removed)

    while_copying(monkeypatch, remove)
    assert run("backup", root, tmp_path / "copy").exit_code == 0
    store.close()
    assert served(tmp_path / "copy") == {kept.id: kept.digest}
    assert check(tmp_path / "copy") == []


def test_a_plan_that_was_copied_before_its_engine_was_removed_is_not_left_in_the_copy(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)
    engines = sorted((add(store, seed) for seed in range(3)), key=lambda engine: engine.id)

    def remove() -> None:
        for engine in engines[:2]:
            store.forget_engine(engine.id)
            store.delete_plan(engine)

    while_copying(monkeypatch, remove, after=1)
    assert run("backup", root, tmp_path / "copy").exit_code == 0
    store.close()
    assert served(tmp_path / "copy") == {engines[2].id: engines[2].digest}
    assert check(tmp_path / "copy") == []


def test_an_engine_that_is_added_while_another_goes_is_in_the_copy(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)
    removed = add(store, 1)
    added = []

    def change() -> None:
        store.forget_engine(removed.id)
        store.delete_plan(removed)
        added.append(add(store, 2))

    while_copying(monkeypatch, change)
    assert run("backup", root, tmp_path / "copy").exit_code == 0
    store.close()
    assert served(tmp_path / "copy") == {added[0].id: added[0].digest}


def test_an_empty_store_has_a_backup(root: Path, tmp_path: Path) -> None:
    Store(root).close()
    assert run("backup", root, tmp_path / "copy").exit_code == 0
    assert served(tmp_path / "copy") == {}
    assert aside(tmp_path / "copy") == []


def test_a_damaged_plan_is_named_and_left_out(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    broken, whole = add(store, 1), add(store, 2)
    store.plan_path(broken).write_bytes(b"no plan")
    result = run("backup", root, tmp_path / "copy")
    store.close()
    assert result.exit_code == 1
    assert f"wrong: Engine {broken.id}: Its plan in the store has 7 bytes" in result.output
    assert not (tmp_path / "copy" / "plans" / f"{broken.digest}.plan").exists()
    assert (tmp_path / "copy" / "plans" / f"{whole.digest}.plan").exists()


def test_a_plan_that_is_missing_for_no_reason_is_named(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    lost = add(store, 1)
    store.plan_path(lost).unlink()
    result = run("backup", root, tmp_path / "copy")
    store.close()
    assert result.exit_code == 1
    assert f"wrong: Engine {lost.id}: Its plan in the store cannot be read: No such file" in result.output


def test_a_pipe_in_the_place_of_a_plan_does_not_hold_the_backup_up(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    broken = add(store, 1)
    store.plan_path(broken).unlink()
    os.mkfifo(store.plan_path(broken))
    result = run("backup", root, tmp_path / "copy")
    store.close()
    assert result.exit_code == 1
    assert f"wrong: Engine {broken.id}: " in result.output


@pytest.mark.parametrize(
    ("target", "reason"),
    [("taken", "exists already"), ("store/copy", "is inside the store")],
)
def test_a_target_that_would_be_overwritten_or_holds_itself_is_refused(
    root: Path, tmp_path: Path, target: str, reason: str
) -> None:
    Store(root).close()
    (tmp_path / "taken").mkdir()
    before = sorted(tmp_path.rglob("*"))
    result = run("backup", root, tmp_path / target)
    assert result.exit_code == 1
    assert reason in result.output
    assert sorted(tmp_path.rglob("*")) == before


def test_a_backup_that_fails_leaves_nothing_behind(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(root)
    add(store, 1)
    store.close()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = run("backup", root, tmp_path / "copy")
    assert result.exit_code == 1
    assert f"The backup {tmp_path / 'copy'} cannot be written: No space left on device." in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


class Broken(io.BufferedReader):
    """A file that breaks off behind its first piece."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().read(3)


@pytest.mark.parametrize("fails", ["open", "read"])
def test_a_plan_that_cannot_be_read_is_named_and_the_rest_is_copied(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    store = Store(root)
    broken, whole = add(store, 1), add(store, 2)
    plan = store.plan_path(broken)
    store.close()
    opened = Path.open

    def failing(path: Path, *how: Any, **more: Any) -> Any:
        if path != plan:
            return opened(path, *how, **more)
        if fails == "open":
            raise OSError(5, "Input/output error")
        return Broken(io.FileIO(plan))

    monkeypatch.setattr(Path, "open", failing)
    result = run("backup", root, tmp_path / "copy")
    assert result.exit_code == 1
    assert f"wrong: Engine {broken.id}: {plan} cannot be read: Input/output error.\n" in result.output
    assert [path.name for path in (tmp_path / "copy" / "plans").iterdir()] == [f"{whole.digest}.plan"]
    assert f"has 2 engines, {whole.plan_bytes / 1e6:.1f} MB." in result.output


def test_a_damaged_copy_of_the_metadata_is_no_source_of_a_backup(root: Path, tmp_path: Path) -> None:
    store = Store(root)
    add(store, 1)
    store.close()
    with (root / "metadata.copy").open("ab") as file:
        file.write(b" ")
    result = run("backup", root, tmp_path / "copy")
    assert result.exit_code == 1
    assert "metadata.copy, is damaged" in result.output
    assert not (tmp_path / "copy").exists()


# -- gc


def with_leftovers(root: Path) -> str:
    """A store with a damaged file and a whole plan without a row, both set aside; the plan's name."""
    store = Store(root)
    add(store, 1)
    store.close()
    lost = onnx_plan(2)
    name = f"{hashlib.sha256(lost).hexdigest()}.plan"
    (root / "plans" / name).write_bytes(lost)
    (root / "plans" / f"{'0' * 64}.plan").write_bytes(b"half a plan")
    Store(root).close()
    assert aside(root) == sorted([name, f"{'0' * 64}.plan"])
    return name


def test_what_is_left_over_is_listed_and_kept(root: Path) -> None:
    with_leftovers(root)
    before = aside(root)
    result = run("gc", root)
    assert result.exit_code == 0
    assert result.output.splitlines()[0] == f"left over: set-aside/{'0' * 64}.plan (11 bytes)"
    assert aside(root) == before


def test_what_is_left_over_is_deleted_but_no_whole_plan_without_a_row(root: Path) -> None:
    lost = with_leftovers(root)
    assert run("gc", root, "--delete").exit_code == 0
    assert aside(root) == [lost]
    assert "Nothing is left over" in run("gc", root).output


def test_nothing_is_deleted_while_a_server_uses_the_store(root: Path) -> None:
    with_leftovers(root)
    store = Store(root)
    result = run("gc", root, "--delete")
    store.close()
    assert result.exit_code == 1
    assert "in use by another server" in result.output
    assert len(aside(root)) == 2
