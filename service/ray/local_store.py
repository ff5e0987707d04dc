"""A store for each replica on a machine: each takes the first that no other has locked.

What a replica has in its store it can fetch again, so a store begins empty, and is emptied at the end. What a
killed replica left there goes when the next takes its place.
"""

import itertools
import shutil
from pathlib import Path
from typing import BinaryIO, Self

from trtserve.errors import Conflict
from trtserve.store.folder import Layout, lock, make_folder


class LocalStore:
    """A folder that is this process's alone until close(). Every method blocks."""

    def __init__(self, root: Path, held: BinaryIO) -> None:
        self.root = root
        self._held = held
        self._empty()

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Take a store in the folder, made if missing. Raises Conflict for one that is not a replica's."""
        for number in itertools.count():
            root = folder / f"replica-{number}"
            make_folder(root)
            layout = Layout(root)
            if not layout.lock.exists() and any(root.iterdir()):
                raise Conflict(f"{root} is not a replica's store: it has no lock. Move it away.")
            try:
                return cls(root, lock(layout.lock))
            except Conflict:
                continue  # another replica's
        raise AssertionError("there is no last number")

    @property
    def descriptor(self) -> int:
        """That of its lock, which the store that is opened here inherits."""
        return self._held.fileno()

    def close(self) -> None:
        self._empty()
        self._held.close()

    def _empty(self) -> None:
        for path in self.root.iterdir():
            if path == Layout(self.root).lock:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
