"""A store that rests while a successor opens it under the same lock."""

import os
from pathlib import Path

import pytest

from tests.fakes.plans import onnx_plan
from tests.unit.stores import add, stage
from trtserve.errors import Conflict, Unavailable
from trtserve.store.store import Store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def resting(root: Path) -> Store:
    """A store with the engine `net`, at rest."""
    store = Store(root)
    add(store, 1, "net")
    store.rest()
    return store


def test_it_refuses_changes_for_now(resting: Store, root: Path) -> None:
    before = sorted(root.rglob("*"))
    for change in (resting.new_upload, resting.engines, lambda: resting.unload(1)):
        with pytest.raises(Unavailable, match="being replaced by a new process") as refused:
            change()
        assert refused.value.retry_after == 5
    assert sorted(root.rglob("*")) == before


def test_a_successor_opens_it_with_the_lock_and_nobody_else_does(resting: Store, root: Path) -> None:
    with pytest.raises(Conflict, match="in use by another server"):
        Store(root)
    successor = Store(root, inherited=resting.lock_descriptor)
    add(successor, 2, "more")
    resting.close()
    with pytest.raises(Conflict, match="in use by another server"):
        Store(root)
    assert set(successor.names()) == {"net", "more"}
    successor.close()
    Store(root).close()


def test_it_is_used_again_with_what_the_successor_changed(resting: Store, root: Path) -> None:
    successor = Store(root, inherited=resting.lock_descriptor)
    add(successor, 2, "more")
    successor.close()
    (root / "LOCK").write_text("1\n")  # as of a successor with a process of its own
    resting.resume()
    assert set(resting.names()) == {"net", "more"}
    add(resting, 3, "third")
    assert int((root / "LOCK").read_text()) == os.getpid()
    resting.close()


def test_its_owner_reads_and_writes_no_marks_and_no_compiled_models(resting: Store, root: Path) -> None:
    before = sorted(root.rglob("*"))
    with resting.marks.during("0" * 64):
        assert sorted(root.rglob("*")) == before
    wrote: list[str] = []
    resting.compiled.keep("0" * 64, 1, lambda path: bool(wrote.append(path)))
    assert wrote == []
    (root / "compiled" / f"{'0' * 64}.compiled").write_bytes(b"the successor's")
    resting.compiled.delete("0" * 64)
    assert (root / "compiled" / f"{'0' * 64}.compiled").exists()
    (root / "loading" / f"{'0' * 64}.json").write_text("{}")
    assert resting.marks.of("0" * 64) is None


def test_what_was_under_way_is_undone_by_the_successor(root: Path) -> None:
    store = Store(root)
    staged = stage(store, onnx_plan(1))
    store.rest()
    successor = Store(root, inherited=store.lock_descriptor)
    assert not staged.path.exists()
    assert successor.engines() == []


def test_a_descriptor_that_is_not_its_lock_is_refused(root: Path, tmp_path: Path) -> None:
    Store(root).close()
    with (tmp_path / "other").open("w") as other, pytest.raises(Conflict, match="is not"):
        Store(root, inherited=other.fileno())
    Store(root).close()
