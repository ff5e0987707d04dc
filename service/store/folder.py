"""Files and folders of the store: list them, lock them, sync them to disk."""

import fcntl
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trtserve.errors import Conflict, Unavailable
from trtserve.store.rows import StoredEngine

PLAN_NAME = re.compile(r"[0-9a-f]{64}\.plan")
SOURCE_NAME = re.compile(r"[0-9a-f]{64}\.onnx")
BUILT_NAME = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{64}\.plan")
PART_NAME = re.compile(r"[0-9a-f]{32}\.part")
MARK_NAME = re.compile(r"[0-9a-f]{64}")
COPY_NAME = "metadata.copy"  # beside the database
SERVED_NAME = "folder.json"  # what was taken from a folder of models


@dataclass(frozen=True)
class Layout:
    """Where each thing lies in the folder of a store; what it is for is at the head of store.py."""

    root: Path

    @property
    def lock(self) -> Path:
        return self.root / "LOCK"

    @property
    def database(self) -> Path:
        return self.root / "metadata.sqlite3"

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    @property
    def plans(self) -> Path:
        return self.root / "plans"

    @property
    def pending(self) -> Path:
        return self.root / "pending"

    @property
    def loading(self) -> Path:
        return self.root / "loading"

    @property
    def reserve(self) -> Path:
        return self.root / "RESERVE"

    @property
    def built(self) -> Path:
        return self.root / "built"

    @property
    def timing(self) -> Path:
        return self.root / "timing"

    @property
    def compiled(self) -> Path:
        return self.root / "compiled"

    @property
    def for_plans(self) -> tuple[Path, ...]:
        """The folders that plans are in, or are on their way to."""
        return self.incoming, self.plans, self.pending, self.built

    def plan(self, engine: StoredEngine) -> Path:
        """The plan of an engine; one that is not built yet has none, and there is no file there."""
        if engine.build is None:
            return self.plans / f"{engine.digest}.plan"
        return self.built / f"{engine.digest}.{engine.build.plan}.plan"

    def source(self, engine: StoredEngine) -> Path:
        """The ONNX model of an engine that is built here."""
        return self.built / f"{engine.digest}.onnx"

    def built_plans(self, digest: str) -> set[Path]:
        """All plans that were built for the engine with this digest."""
        return {path for path in named(self.built, BUILT_NAME) if path.name.startswith(digest)}


def named(folder: Path, name: re.Pattern[str]) -> set[Path]:
    """The files in the folder whose whole name matches."""
    return {path for path in folder.iterdir() if name.fullmatch(path.name)}


def lock(path: Path, *, reading: bool = False) -> BinaryIO:
    """Lock the file while it is open: the kernel releases the lock however this process ends.

    Raises Conflict if another process holds it. `reading`: the file exists, and stays unchanged.
    """
    if path.exists() and not path.is_file():
        raise Unavailable(f"The store {path.parent} cannot be used: {path} is not a file.")
    file = path.open("rb" if reading else "a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read(32).decode(errors="replace").strip()
        file.close()
        raise Conflict(
            f"The store {path.parent} is in use by another server (process {owner or 'unknown'}). "
            "Stop that one, or start this one with another --store."
        ) from None
    if not reading:
        write_owner(file)
    return file


def inherited_lock(path: Path, descriptor: int) -> BinaryIO:
    """The lock that this process shares with the one which it succeeds: it ends once both have closed it.

    Raises Conflict if the descriptor is not that of this lock.
    """
    file = os.fdopen(os.dup(descriptor), "a+b")
    try:
        same = os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        same = False
    if not same:
        file.close()
        raise Conflict(f"The lock that this process was given is not {path}: start it in the usual way.")
    write_owner(file)
    return file


def write_owner(file: BinaryIO) -> None:
    """Write this process's ID into the lock."""
    with suppress(OSError):  # the ID is for people: a full disk must not keep a server from starting
        file.truncate(0)
        os.write(file.fileno(), f"{os.getpid()}\n".encode())


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, synced to disk like the files that it will hold."""
    made = [missing for missing in (folder, *folder.parents) if not missing.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for new in made:
        sync_folder(new.parent)


def sync_folder(folder: Path) -> None:
    """Sync the folder's entries (a rename, a new file) to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
