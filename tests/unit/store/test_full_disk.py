"""A store on a full disk: operations that free space work, and a refused upload names the free space."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.stores import add
from trtserve.errors import Unavailable
from trtserve.store.database_copy import CopyFile
from trtserve.store.reserve import LEAST_BYTES, DiskFull, free_bytes
from trtserve.store.store import Store

ROOT = Path(__file__).parents[3]

ON_A_SMALL_DISK = """
import os, subprocess, sys
from pathlib import Path
from trtserve.store.reserve import DiskFull
from trtserve.store.store import Store
from tests.fakes.plans import onnx_plan
from tests.unit.stores import add, stage, stored

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "small", disk], check=True)
root = disk / "store"

def fill(number=iter(range(1000))):
    with (disk / f"filler-{next(number)}").open("wb", buffering=0) as filler:
        for size in (65536, 4096):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                pass

def refused(change):
    try:
        change()
    except DiskFull as failure:
        assert "0.0 MB free" in str(failure), failure
        assert str(disk) not in str(failure), failure
        return
    raise AssertionError("it was not refused")

store = Store(root)
engines = [add(store, seed, f"name-{seed % 5}", instances=seed % 7) for seed in range(200)]
fill()
for seed in range(3):
    refused(lambda: stage(store, onnx_plan(f"new {seed}", padding=100_000)))
    refused(lambda: store.new_upload(10_000_000))
assert (root / "RESERVE").exists()
for turn, engine in enumerate(engines[:60]):
    name = f"name-{turn % 5}"
    fill()
    store.unload(engine.id)
    fill()
    store.point(name, 1 + turn // 5)
    fill()
    if turn % 2:
        store.forget_version(name, 1 + turn // 5, engine.id)
    else:
        store.forget_engine(engine.id)
    store.delete_plan(engine)
before = store.engines(), store.names(), store.unloaded()
assert {engine.id for engine in before[0]} == {engine.id for engine in engines[60:]}
fill()
store.close()
fill()
again = Store(root)
assert (again.engines(), again.names(), again.unloaded()) == before
assert again.notes == []
fill()
again.forget_engine(engines[100].id)
again.delete_plan(engines[100])
for filler in disk.glob("filler-*"):
    filler.unlink()
again.forget_engine(engines[101].id)
again.delete_plan(engines[101])
assert (root / "RESERVE").stat().st_blocks * 512 >= 4 * 1024**2
add(again, "after")
again.close()
print("done")
"""


def test_operations_that_free_space_work_on_a_full_disk(tmp_path: Path) -> None:
    command = ["unshare", "--map-root-user", "--mount", "--", sys.executable, "-c", ON_A_SMALL_DISK, tmp_path]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    if "unshare" in ended.stderr or "mount:" in ended.stderr:
        pytest.skip("no disk can be mounted here: " + ended.stderr.strip())
    assert ended.stdout == "done\n", ended.stderr


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk has no space for the copy of the metadata while the reserve exists."""
    true_prepare = CopyFile.prepare

    def prepare(self: CopyFile, copy: object) -> None:
        if (self.path.parent / "RESERVE").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        true_prepare(self, copy)  # type: ignore[arg-type]

    monkeypatch.setattr(CopyFile, "prepare", prepare)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_removal_uses_the_reserve_and_restores_it(
    store: Store, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    engine = add(store, 1, "net")
    request.getfixturevalue("full")
    assert store.forget_engine(engine.id) == {}
    store.delete_plan(engine)
    assert store.engines() == []
    assert (tmp_path / "store" / "RESERVE").stat().st_size >= LEAST_BYTES
    store.close()


def test_an_upload_does_not_use_the_reserve(store: Store, request: pytest.FixtureRequest) -> None:
    kept = add(store, 1, "net")
    request.getfixturevalue("full")
    with pytest.raises(DiskFull, match=r"the store's disk has \d+\.\d MB free\. Remove engines"):
        add(store, 2, "net")
    assert store.engines() == [kept]
    store.close()


def test_a_plan_that_cannot_fit_is_refused_before_it_arrives(store: Store, tmp_path: Path) -> None:
    size = free_bytes(tmp_path) * 10
    with pytest.raises(Unavailable, match=r"plan of \d+\.\d MB does not fit: the store's disk has \d+"):
        store.new_upload(size)
    assert list((tmp_path / "store" / "incoming").iterdir()) == []
    store.close()
