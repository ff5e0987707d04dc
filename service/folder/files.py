"""The files of a folder on this machine; remote_files.py has those of others."""

import errno
import re
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from trtserve.errors import InvalidInput, TooLarge, Unavailable
from trtserve.text import printable, shown_bytes
from trtserve.workers import FOLDER

BLOCK_BYTES = 4 * 1024**2
MOST_ENTRIES = 10_000  # of a folder
RETRY_AFTER_S = 5.0
SETTING = "--model-repository (TRTSERVE_MODEL_REPOSITORY)"

OF_ONE_PLACE = (PermissionError, FileNotFoundError, NotADirectoryError)
"""What a file system raises for a place, and not for all of it."""

FilePath = Sequence[str]
"""Names from the folder down; empty: the folder itself."""


class Denied(Unavailable):
    """What cannot be read, while the rest of the folder may be."""


class Slow(Denied):
    """What did not answer in time, while the rest of the folder may."""


class Entry(NamedTuple):
    """A file, or a folder, in a folder."""

    name: str
    is_folder: bool
    size: int | None  # bytes of a file, where that is known
    stamp: str  # of a file: another one once it has changed


class Files(Protocol):
    """Reads one folder. Any thread may call it; each call blocks.

    Raises Unavailable for what cannot be read now, and Denied or Slow if that concerns this place alone.
    """

    root: str

    def entries(self, path: FilePath = ()) -> list[Entry]:
        """What is in a folder, by name; without names that begin with a dot. TooLarge beyond MOST_ENTRIES."""

    def entry(self, path: FilePath) -> Entry:
        """A file, as it is now."""

    def blocks(self, path: FilePath) -> Iterator[bytes]:
        """A file, in order."""


def open_files(root: str, setting: str = SETTING) -> Files:
    """The folder at a path or a URL, which `setting` names. Raises InvalidInput if there is no such folder
    here, or nothing that reads such a URL. Blocks, but does not ask another machine."""
    if re.match(r"[a-z][a-z0-9+]*://", root):
        from trtserve.folder.remote_files import RemoteFiles  # only here: it takes long to import

        return RemoteFiles(root, setting)
    if not Path(root).is_dir():
        raise InvalidInput(f"{setting} is {root}, which is not a folder.")
    return LocalFiles(Path(root))


async def blocks_of(files: Files, path: FilePath) -> AsyncIterator[bytes]:
    """A file, in order, read in threads."""
    blocks: Iterator[bytes] = files.blocks(path)
    try:
        while (block := await FOLDER.run(next, blocks, None)) is not None:
            yield block
    finally:
        close = getattr(blocks, "close", None)  # a generator's, which closes the file
        if close is not None:
            await FOLDER.run(close)


def check_entries(place: str, entries: int) -> None:
    """Raise TooLarge for a folder with too many entries."""
    if entries > MOST_ENTRIES:
        raise TooLarge(f"{printable(place)} has {entries} entries; a folder may have at most {MOST_ENTRIES}.")


def read_small(files: Files, path: FilePath, most: int) -> bytes:
    """A whole file. Raises TooLarge beyond `most` bytes."""
    read = bytearray()
    for block in files.blocks(path):
        read += block
        if len(read) > most:
            raise TooLarge(
                f"{printable('/'.join(path))} has more than {shown_bytes(most)}, the most that it may have."
            )
    return bytes(read)


class LocalFiles:
    """A folder of the file system; links are followed."""

    def __init__(self, root: Path) -> None:
        self.root = str(root.absolute())
        self._folder = root

    def entries(self, path: FilePath = ()) -> list[Entry]:
        try:
            names = sorted(found.name for found in self._place(path).iterdir())
        except OSError as failure:
            raise self._unreadable(path, failure) from failure
        check_entries(str(self._place(path)), len(names))
        found = []
        for name in names:
            if name.startswith("."):
                continue
            try:
                found.append(self._entry([*path, name]))
            except OSError:  # gone meanwhile, or a link that leads nowhere
                continue
        return found

    def entry(self, path: FilePath) -> Entry:
        try:
            return self._entry(path)
        except OSError as failure:
            raise self._unreadable(path, failure) from failure

    def blocks(self, path: FilePath) -> Iterator[bytes]:
        try:
            with self._place(path).open("rb") as file:
                while block := file.read(BLOCK_BYTES):
                    yield block
        except OSError as failure:
            raise self._unreadable(path, failure) from failure

    def _entry(self, path: FilePath) -> Entry:
        found = self._place(path).stat()
        is_file = stat.S_ISREG(found.st_mode)
        if not is_file and not stat.S_ISDIR(found.st_mode):
            raise OSError(errno.EINVAL, "it is neither a file nor a folder")  # to open a pipe would block
        stamp = f"{found.st_size}.{found.st_mtime_ns}.{found.st_ctime_ns}.{found.st_ino}"
        return Entry(path[-1], not is_file, found.st_size if is_file else None, stamp if is_file else "")

    def _place(self, path: FilePath) -> Path:
        return self._folder.joinpath(*path)

    def _unreadable(self, path: FilePath, failure: OSError) -> Unavailable:
        told = f"{printable(str(self._place(path)))} cannot be read: {failure.strerror or failure}."
        kind = Denied if path and isinstance(failure, OF_ONE_PLACE) else Unavailable
        return kind(told, retry_after=RETRY_AFTER_S)
