"""Each replica on a machine has a store of its own, and leaves nothing behind."""

from pathlib import Path

import pytest

from trtserve.errors import Conflict
from trtserve.ray.local_store import LocalStore
from trtserve.store.store import Store


def left(store: LocalStore) -> list[str]:
    return [path.name for path in store.root.iterdir()]


def test_replicas_on_one_machine_take_different_stores(tmp_path: Path) -> None:
    first, second = LocalStore.take(tmp_path), LocalStore.take(tmp_path)
    assert first.root != second.root
    first.close()
    again = LocalStore.take(tmp_path)
    assert again.root == first.root
    again.close()
    second.close()


def test_a_server_opens_the_store_with_the_lock_that_it_inherits(tmp_path: Path) -> None:
    taken = LocalStore.take(tmp_path)
    store = Store(taken.root, inherited=taken.descriptor)
    with pytest.raises(Conflict, match="in use"):
        Store(taken.root)
    store.close()
    taken.close()
    assert left(taken) == ["LOCK"]


def test_what_a_killed_replica_left_is_gone_for_the_next(tmp_path: Path) -> None:
    killed = LocalStore.take(tmp_path)
    (killed.root / "plans").mkdir()
    (killed.root / "plans" / "old.plan").touch()
    (killed.root / "link").symlink_to(tmp_path)
    killed._held.close()  # as the kernel does it
    following = LocalStore.take(tmp_path)
    assert following.root == killed.root
    assert left(following) == ["LOCK"]
    assert tmp_path.exists()
    following.close()


def test_a_folder_that_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "replica-0").mkdir()
    (tmp_path / "replica-0" / "thesis.txt").touch()
    with pytest.raises(Conflict, match="is not a replica's store"):
        LocalStore.take(tmp_path)
    assert (tmp_path / "replica-0" / "thesis.txt").exists()
