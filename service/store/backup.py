"""Copies a store to another folder, which is a store too, while a server may use it.

The copy of the metadata is one file with all rows, and is replaced whole at each change (database_copy.py),
so reading it takes no lock. Plans never change under their names. A file that is gone when its turn comes
was removed or built again meanwhile: then the rows are read again, and what is still missing is copied.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from trtserve.errors import Conflict, Unavailable
from trtserve.store.check import check_is_store
from trtserve.store.database import Database, StoredEngine
from trtserve.store.database_copy import Copy, CopyFile, DamagedCopy
from trtserve.store.folder import COPY_NAME, SERVED_NAME, Layout, make_folder, sync_folder
from trtserve.store.opening import Beside, Opening
from trtserve.store.plan_file import check_file, is_plain

PIECE_BYTES = 1024**2
ROUNDS = 100  # of reading the rows again; each needs a removal or a build during the one before


@dataclass(frozen=True)
class Backup:
    """What was copied."""

    engines: int
    size: int  # bytes of the plans, and of the models that plans are built from
    damaged: list[str]  # a sentence for each engine without an intact file; its row is there all the same


@dataclass(frozen=True)
class _File:
    """A file that a row names."""

    name: str  # relative to the store
    digest: str
    size: int
    of: str  # "Engine …", for people


def backup(root: Path, target: Path) -> Backup:
    """Copy the store at `root` to `target`, a folder that does not exist yet, and sync it to disk.

    Everything that was answered before the call is in it. If this fails, nothing stays behind. Raises
    NotFound if there is no store, Conflict if the target exists or lies in the store, and Unavailable if the
    metadata cannot be read, or the disk cannot take the copy.
    """
    check_is_store(root)
    if os.path.lexists(target):
        raise Conflict(f"{target} exists already: give a folder that does not exist yet.")
    if target.absolute().resolve().is_relative_to(root.resolve()):
        raise Conflict(f"{target} is inside the store {root}: give a folder outside of it.")
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        make_folder(part)
        done = _copied(root, part)
        with suppress(FileNotFoundError):
            shutil.copyfile(root / SERVED_NAME, part / SERVED_NAME)
        part.rename(target)
        sync_folder(target.parent)
    except OSError as failure:
        raise Unavailable(f"The backup {target} cannot be written: {failure.strerror}.") from failure
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return done


def _copied(root: Path, part: Path) -> Backup:
    layout = Layout(part)
    for folder in (*layout.for_plans, layout.timing, layout.compiled):
        folder.mkdir()
    rows = _rows(root)
    unreadable: dict[_File, str] = {}  # why the store's disk does not give them
    for _ in range(ROUNDS):
        engines = _with_database(part, rows)
        files = [file for engine in engines for file in _files(layout, engine)]
        gone = [file for file in files if not _copied_file(root, part, file, unreadable)]
        before, rows = rows, _rows(root) if gone else rows
        if not gone or rows.generation == before.generation:
            return _finished(part, engines, files, unreadable)
    raise Unavailable(f"The store {root} changes too often for a backup: try again when it is quieter.")


def _rows(root: Path) -> Copy:
    try:
        rows = CopyFile(root / COPY_NAME).read()
    except DamagedCopy as damage:
        raise Unavailable(_unreadable(root, str(damage))) from damage
    if rows is None:
        raise Unavailable(_unreadable(root, "is missing"))
    return rows


def _unreadable(root: Path, why: str) -> str:
    return (
        f"The copy of the metadata, {root / COPY_NAME}, {why}. A start of the server writes it anew; "
        f"`trtserve store check --store {root}` says more."
    )


def _with_database(part: Path, rows: Copy) -> list[StoredEngine]:
    """Write the rows into the backup as the server would; return the engines."""
    layout = Layout(part)
    for name in (layout.database.name, f"{layout.database.name}-wal", COPY_NAME):
        (part / name).unlink(missing_ok=True)
    plans = {row["digest"]: row["plan_bytes"] for row in rows.rows.engines}
    if plans:  # a database without engines is made as for a new store
        copy = CopyFile(part / COPY_NAME)
        copy.prepare(rows)
        copy.put()
    database = Database(layout.database, Beside(plans), Opening.REBUILD)
    try:
        return database.engines()
    finally:
        database.close()


def _files(layout: Layout, engine: StoredEngine) -> Iterator[_File]:
    def file(path: Path, digest: str, size: int) -> _File:
        return _File(str(path.relative_to(layout.root)), digest, size, f"Engine {engine.id}")

    if engine.build is not None:
        yield file(layout.source(engine), engine.build.source, engine.build.source_bytes)
    if engine.plan_digest is not None:
        yield file(layout.plan(engine), engine.plan_digest, engine.plan_bytes)


class _Unreadable(Exception):
    """A file of the store cannot be read; its text says why."""


def _copied_file(root: Path, part: Path, file: _File, unreadable: dict[_File, str]) -> bool:
    """Copy a file, or note why it cannot be read; False if the store does not have it as a file."""
    unreadable.pop(file, None)
    try:
        return _copy(root, part, file)
    except _Unreadable as failure:
        (part / file.name).unlink(missing_ok=True)
        unreadable[file] = f"{root / file.name} cannot be read: {failure}."
        return True


def _copy(root: Path, part: Path, file: _File) -> bool:
    """Copy a file unless it is there; False if the store does not have it as a file."""
    place = part / file.name
    if place.exists():
        return True
    if not is_plain(root / file.name):  # opening a pipe would block, and a link may lead anywhere
        return False
    try:
        plan = (root / file.name).open("rb")
    except FileNotFoundError:
        return False
    except OSError as failure:
        raise _Unreadable(failure.strerror) from failure
    with plan, place.open("xb") as written:
        while piece := _piece(plan):
            written.write(piece)
        written.flush()
        os.fsync(written.fileno())
    return True


def _piece(plan: BufferedReader) -> bytes:
    """The next bytes. An OSError here is the store's; any other one of a copy is the backup's."""
    try:
        return plan.read(PIECE_BYTES)
    except OSError as failure:
        raise _Unreadable(failure.strerror) from failure


def _finished(
    part: Path, engines: list[StoredEngine], files: list[_File], unreadable: dict[_File, str]
) -> Backup:
    """Drop what the rows do not name, check the rest, and sync the folders."""
    layout = Layout(part)
    named = {part / file.name for file in files}
    for folder in (layout.plans, layout.built):
        for path in folder.iterdir():
            if path not in named:
                path.unlink()
    damaged = []
    for file in files:
        if file in unreadable:
            damaged.append(f"{file.of}: {unreadable[file]}")
            continue
        try:
            check_file(part / file.name, file.digest, file.size)
        except Unavailable as failure:
            damaged.append(f"{file.of}: {failure}")
            with suppress(FileNotFoundError):
                (part / file.name).unlink()
    for folder in (*layout.for_plans, layout.timing, layout.compiled, part):
        sync_folder(folder)
    size = sum(file.size for file in files if file not in unreadable)
    return Backup(len(engines), size, damaged)
