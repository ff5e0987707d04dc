"""Files that the store cannot place: moved out of the way, and kept until a person has looked at them."""

import logging
from pathlib import Path

logger = logging.getLogger(__name__)

FOLDER = "set-aside"


class SetAside:
    """A store's folder for such files, made on first need. It never overwrites what it holds."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def take(self, path: Path) -> Path:
        """Move `path` here, whatever it is, and return its new path. A rename, which needs no space."""
        self.folder.mkdir(exist_ok=True)
        place = self.folder / path.name
        number = 1
        while place.exists() or place.is_symlink():
            number += 1
            place = self.folder / f"{path.name}.{number}"
        path.rename(place)
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
