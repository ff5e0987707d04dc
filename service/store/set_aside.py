"""Files that the store cannot place: moved out of the way, and kept until a person has looked at them."""

import logging
import os
from pathlib import Path

from trtserve.store.folder import make_folder, sync_folder

logger = logging.getLogger(__name__)

FOLDER = "set-aside"


class SetAside:
    """A store's folder for such files, made on first need. It never overwrites what it holds."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def take(self, path: Path) -> Path:
        """Move `path` here, whatever it is, and return its new path. A rename, which needs no space.

        It is on the disk when this returns: the folder first, so that a loss of power does not take the file.
        """
        place = self._free(path.name)
        path.rename(place)
        sync_folder(self.folder)
        sync_folder(path.parent)
        return place

    def keep(self, path: Path) -> None:
        """Give a file a second name here, so that it is replaced where it is and never gone.

        A disk without such names moves it.
        """
        try:
            os.link(path, self._free(path.name))
            sync_folder(self.folder)
        except OSError:
            self.take(path)

    def _free(self, name: str) -> Path:
        """A path in the folder that is not taken."""
        make_folder(self.folder)
        place = self.folder / name
        number = 1
        while place.exists() or place.is_symlink():
            number += 1
            place = self.folder / f"{name}.{number}"
        return place

    def take_if_there(self, path: Path) -> None:
        if path.exists() or path.is_symlink():
            self.take(path)

    def entries(self) -> list[Path]:
        return sorted(self.folder.iterdir()) if self.folder.is_dir() else []

    def size(self) -> int:
        """The total size of the files here, in bytes."""
        return sum(path.lstat().st_size for path in self.entries())

    def warn(self) -> None:
        """Log how much is here, if anything is: only a person deletes it."""
        entries = self.entries()
        if entries:
            logger.warning(
                "store: %d files (%.1f MB) are set aside in %s: see `trtserve store check --store %s`",
                len(entries),
                self.size() / 1e6,
                self.folder,
                self.folder.parent,
            )
