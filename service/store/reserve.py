"""Space on the store's disk: how much is free, and a small reserve for changes that free more."""

import errno
import logging
import os
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from trtserve.errors import Unavailable

logger = logging.getLogger(__name__)

LEAST_BYTES = 4 * 1024**2  # to reserve: SQLite's log grows to about as much; the copy's size comes on top
USEFUL_BYTES = LEAST_BYTES // 16  # a smaller reserve is not worth keeping
NEARLY_NOTHING = 256 * 1024  # free bytes: with less, a full disk explains SQLite's I/O errors
FULL = {errno.ENOSPC, errno.EDQUOT}


class DiskFull(Unavailable):
    """The store's disk has too little space for a change."""


def free_bytes(folder: Path) -> int:
    """How many bytes can still be written to the folder's disk."""
    return shutil.disk_usage(folder).free


def is_full(failure: Exception, folder: Path) -> bool:
    """True if a full disk caused the failure."""
    if isinstance(failure, OSError):
        return failure.errno in FULL
    code = getattr(failure, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return True
    return code in {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN} and free_bytes(folder) < NEARLY_NOTHING


def disk_full(folder: Path, what: str) -> DiskFull:
    """The error for a full disk; `what` is a sentence, without its full stop, that says what failed."""
    return DiskFull(
        f"{what}: the store's disk has {free_bytes(folder) / 1e6:.1f} MB free. Remove engines with "
        "DELETE /engines/{id}, or give the store more space."
    )


class Reserve:
    """A file of zeros, deleted when a change that frees space finds none, and made again afterwards.

    Not thread safe; neither is the store that owns it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def hold(self, wanted: int = LEAST_BYTES) -> bool:
        """Reserve `wanted` bytes, or as many as the disk has; False if that is too few to be useful."""
        size = wanted
        while size >= USEFUL_BYTES:
            if self._has(size) or self._allocate(size):
                break
            size //= 2
        else:
            self.release()
            size = 0
        if size < wanted:
            logger.warning("store: the disk is full: %d bytes instead of %d are reserved", size, wanted)
        return size > 0

    def _has(self, size: int) -> bool:
        return self._path.is_file() and self._path.stat().st_size >= size

    def _allocate(self, size: int) -> bool:
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)
            finally:
                os.close(descriptor)
        except OSError:
            return False
        return True

    def release(self) -> bool:
        """Free the reserved space; False if there was none."""
        with suppress(OSError):
            self._path.unlink()
            return True
        return False
