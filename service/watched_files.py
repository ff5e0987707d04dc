"""Files that may be replaced while the server runs."""

from collections.abc import Sequence
from pathlib import Path

Stamp = tuple[int, ...] | None


class WatchedFiles:
    """Tells whether any of the files has changed. Used by one thread at a time; blocks for a look at each."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._stamps: list[Stamp] = []

    def changed(self) -> bool:
        """True if a file is another than at the last call; True at the first."""
        before, self._stamps = self._stamps, [_stamp(file) for file in self._files]
        return self._stamps != before


def _stamp(file: Path) -> Stamp:
    """What changes with the file's bytes, its rights, or the file that the path leads to; None: no file."""
    try:
        found = file.stat()
    except OSError:
        return None
    return (
        *(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns),
        *(found.st_ctime_ns, found.st_mode, found.st_uid),
    )
