"""The cache of compiled models in the store: kept whole, found undamaged, gone with its engine."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.stores import add, killed, stage, stored
from trtserve.store import compiled_files
from trtserve.store.compiled_files import CompiledFiles
from trtserve.store.store import Store

A, B = "a" * 64, "b" * 64


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> Store:
    return Store(root)


def writing(data: bytes) -> Callable[[str], bool]:
    def write(path: str) -> bool:
        Path(path).write_bytes(bytes(32) + data)
        return True

    return write


def kept(files: CompiledFiles, digest: str, data: bytes = b"compiled") -> Path:
    files.keep(digest, 10, writing(data))
    path = files.find(digest)
    assert path is not None
    return path


def all_files(root: Path) -> list[str]:
    return sorted(path.name for folder in ("compiled", "incoming") for path in (root / folder).iterdir())


def test_what_is_kept_is_found_by_its_engine(store: Store, root: Path) -> None:
    assert store.compiled.find(A) is None
    assert kept(store.compiled, A).read_bytes()[32:] == b"compiled"
    assert kept(store.compiled, A, b"other").read_bytes()[32:] == b"other"
    assert store.compiled.find(B) is None
    assert all_files(root) == [f"{A}.compiled"]


@pytest.mark.parametrize(
    "damaged",
    [
        lambda whole: whole[:-1],
        lambda whole: whole[:40],
        lambda whole: whole[:20],
        lambda whole: b"",
        lambda whole: whole + b"\0",
        lambda whole: whole[:50] + bytes([whole[50] ^ 1]) + whole[51:],
        lambda whole: bytes([whole[0] ^ 1]) + whole[1:],
        lambda whole: bytes(32) + whole[32:],
    ],
)
def test_a_damaged_file_is_not_found_until_it_is_kept_again(
    store: Store, damaged: Callable[[bytes], bytes]
) -> None:
    path = kept(store.compiled, A, b"compiled" * 10)
    path.write_bytes(damaged(path.read_bytes()))
    assert store.compiled.find(A) is None
    kept(store.compiled, A)


def test_what_is_not_a_file_is_not_found(store: Store, root: Path) -> None:
    os.mkfifo(root / "compiled" / f"{A}.compiled")
    (root / "compiled" / f"{B}.compiled").mkdir()
    assert store.compiled.find(A) is None
    assert store.compiled.find(B) is None
    kept(store.compiled, A)
    store.compiled.keep(B, 10, writing(b"compiled"))
    assert store.compiled.find(B) is None
    store.compiled.delete(B)
    assert all_files(root) == [f"{A}.compiled", f"{B}.compiled"]


def test_what_cannot_be_written_leaves_nothing(store: Store, root: Path) -> None:
    def fails(path: str) -> bool:
        Path(path).write_bytes(b"the beg")
        raise OSError("the disk is broken")

    store.compiled.keep(A, 10, fails)
    store.compiled.keep(A, 10, lambda path: False)
    assert all_files(root) == []


def test_nothing_is_kept_where_plans_need_the_room(
    store: Store, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled_files, "free_bytes", lambda folder: 8 * 2**20)
    store.compiled.keep(A, 2 * 2**20, writing(b"compiled"))
    assert all_files(root) == []
    kept(store.compiled, A)


def test_a_compiled_model_goes_with_its_plan(store: Store, root: Path) -> None:
    first, second = add(store, 1), add(store, 2)
    kept(store.compiled, first.digest)
    kept(store.compiled, second.digest)
    store.forget_engine(first.id)
    store.delete_plan(first)
    assert all_files(root) == [f"{second.digest}.compiled"]


def test_a_start_deletes_compiled_models_without_an_engine(store: Store, root: Path, tmp_path: Path) -> None:
    """Whenever the server was killed: before the engine was committed, while it was removed, and while the
    file was written."""
    whole, new, removed = add(store, 1), stage(store, b"new"), add(store, 3)
    store.adopt(new, stored(new))
    for digest in (whole.digest, new.digest, removed.digest):
        kept(store.compiled, digest)
    store.forget_engine(removed.id)
    after: list[Path] = []

    def killed_here(path: str) -> bool:
        Path(path).write_bytes(bytes(32) + b"half")
        after.append(killed(root, tmp_path / "killed"))
        return False

    store.compiled.keep(whole.digest, 10, killed_here)
    (after[0] / "compiled" / "mine").touch()
    Store(after[0]).close()
    assert all_files(after[0]) == [f"{whole.digest}.compiled", "mine"]
