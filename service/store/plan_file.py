"""A plan file in the store: whether its bytes match the digest in its name."""

import hashlib
import os
import stat
from pathlib import Path

from trtserve.errors import Unavailable

AGAIN = "Upload the plan again, which repairs it."


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and size (bytes) of a regular file. Raises Unavailable if it cannot be read as one.

    Blocks while it reads the file: about a second per gigabyte.
    """
    try:
        # Opening a FIFO would block, and a link may lead out of the store.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise Unavailable(f"Its plan in the store is not a file but {_kind(mode)}. {AGAIN}")
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except IsADirectoryError as failure:
        raise Unavailable(f"Its plan in the store is not a file but a folder. {AGAIN}") from failure
    except OSError as failure:
        if path.is_symlink():
            raise Unavailable(
                f"Its plan in the store is not a file but a symbolic link. {AGAIN}"
            ) from failure
        raise Unavailable(f"Its plan in the store cannot be read: {failure.strerror}. {AGAIN}") from failure


def check_plan(path: Path, digest: str, size: int) -> None:
    """Raise Unavailable unless the file's SHA-256 is `digest`; `size` is the bytes that it should have."""
    found, has = digest_of(path)
    if found == digest:
        return
    if has != size:
        raise Unavailable(f"Its plan in the store has {has} bytes instead of {size}. {AGAIN}")
    raise Unavailable(f"Its plan in the store is damaged: its SHA-256 is {found}, not {digest}. {AGAIN}")


def is_plain(path: Path) -> bool:
    """True if a file can be renamed onto this path: a regular file is there, or nothing."""
    return not os.path.lexists(path) or stat.S_ISREG(path.lstat().st_mode)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
