"""What the store found and cannot place: moved out of the way, and kept until a person has looked at it."""

import logging
from pathlib import Path

logger = logging.getLogger(__name__)

FOLDER = "set-aside"


class SetAside:
    """The folder for it in a store; made when it is needed. It never takes the place of what is there."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def take(self, path: Path) -> Path:
        """Move it here, whatever it is: a rename, which needs no space. Returns where it is."""
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
        """Bytes of the files here."""
        return sum(path.lstat().st_size for path in self.entries())

    def warn(self) -> None:
        """Say in the log how much is here, where anything is: it goes only if a person deletes it."""
        entries = self.entries()
        if entries:
            logger.warning(
                "store: %d files (%.1f MB) lie in %s: `trtserve store check --store %s` says what they are",
                len(entries),
                self.size() / 1e6,
                self.folder,
                self.folder.parent,
            )
