"""A plan as it lies in the store: whether its bytes are those that its name tells of."""

import hashlib
import os
import stat
from pathlib import Path

from trtserve.errors import Unavailable

AGAIN = "Upload the plan again, which repairs it."


def digest_of(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and size of a regular file; Unavailable says why it has none.

    Blocks for as long as the file takes to read: a gigabyte takes about a second.
    """
    try:
        # A FIFO would be waited for, and a link may lead out of the store.
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
    """Raise Unavailable unless the file has the digest, as it has the name; `size` is what it should have."""
    found, has = digest_of(path)
    if found == digest:
        return
    if has != size:
        raise Unavailable(f"Its plan in the store has {has} bytes instead of {size}. {AGAIN}")
    raise Unavailable(f"Its plan in the store is damaged: its SHA-256 is {found}, not {digest}. {AGAIN}")


def is_plain(path: Path) -> bool:
    """Whether it is a file that another may be renamed onto; also where there is nothing."""
    return not os.path.lexists(path) or stat.S_ISREG(path.lstat().st_mode)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
