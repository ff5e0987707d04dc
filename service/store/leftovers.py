"""What starts have set aside and nobody needs: listed, and deleted when a person says so."""

import shutil
from pathlib import Path

from trtserve.errors import Unavailable
from trtserve.store.check import identified, read_database, stopped
from trtserve.store.set_aside import SetAside

Leftover = tuple[Path, int]
"""A path relative to the store, and its size in bytes."""


def leftovers(root: Path) -> list[Leftover]:
    """The files that are set aside, except whole plans without a row, which may be somebody's only copy.

    Raises Conflict if a server uses the store, and NotFound if there is none.
    """
    with stopped(root):
        return _found(root)


def delete_leftovers(root: Path) -> list[Leftover]:
    """Delete what leftovers() lists, and return it. Raises Unavailable too, if that fails."""
    with stopped(root):
        found = _found(root)
        for path, _ in found:
            _delete(root / path)
        return found


def _found(root: Path) -> list[Leftover]:
    engines, _, _ = read_database(root)
    known = {engine.digest for engine in engines}
    found = []
    for path in SetAside(root).entries():
        plan = identified(path)
        if plan is None or plan.digest in known:
            found.append((path.relative_to(root), _size(path)))
    return found


def _size(path: Path) -> int:
    if path.is_dir() and not path.is_symlink():
        return sum(each.lstat().st_size for each in path.rglob("*") if not each.is_dir())
    return path.lstat().st_size


def _delete(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as failure:
        raise Unavailable(f"{path} cannot be deleted: {failure.strerror}.") from failure
