"""A plan file in the store: whether its bytes match the digest in its name."""

import hashlib
import os
import stat
from pathlib import Path

from trtserve.errors import Unavailable
from trtserve.store.folder import Layout
from trtserve.store.rows import StoredEngine

AGAIN = "Upload the {what} again, which repairs it."


def digest_of(path: Path, what: str = "plan") -> tuple[str, int]:
    """SHA-256 (hex) and size (bytes) of a regular file. Raises Unavailable if it cannot be read as one.

    `what` it is, for that sentence. Blocks while it reads the file: about a second per gigabyte.
    """
    again = AGAIN.format(what=what)
    try:
        # Opening a FIFO would block, and a link may lead out of the store.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise Unavailable(f"Its {what} in the store is not a file but {_kind(mode)}. {again}")
            return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    except IsADirectoryError as failure:
        raise Unavailable(f"Its {what} in the store is not a file but a folder. {again}") from failure
    except OSError as failure:
        if path.is_symlink():
            raise Unavailable(
                f"Its {what} in the store is not a file but a symbolic link. {again}"
            ) from failure
        raise Unavailable(f"Its {what} in the store cannot be read: {failure.strerror}. {again}") from failure


def check_file(path: Path, digest: str, size: int, what: str = "plan") -> None:
    """Raise Unavailable unless the file's SHA-256 is `digest`; `size` is the bytes that it should have."""
    again = AGAIN.format(what=what)
    found, has = digest_of(path, what)
    if found == digest:
        return
    if has != size:
        raise Unavailable(f"Its {what} in the store has {has} bytes instead of {size}. {again}")
    raise Unavailable(f"Its {what} in the store is damaged: its SHA-256 is {found}, not {digest}. {again}")


def check_plan(layout: Layout, engine: StoredEngine) -> None:
    """Raise Unavailable unless the engine's plan has the bytes that were uploaded, or built."""
    if engine.plan_digest is None:
        raise Unavailable("It has not been built yet.")
    check_file(layout.plan(engine), engine.plan_digest, engine.plan_bytes)


def check_source(layout: Layout, engine: StoredEngine) -> None:
    """Raise Unavailable unless the model that the engine is built from has the bytes that were uploaded."""
    assert engine.build is not None, "only an engine that is built here has a model"
    check_file(layout.source(engine), engine.build.source, engine.build.source_bytes, "model")


def is_plain(path: Path) -> bool:
    """True if a file can be renamed onto this path: a regular file is there, or nothing."""
    return not os.path.lexists(path) or stat.S_ISREG(path.lstat().st_mode)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
