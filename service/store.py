"""Plans and their metadata on disk, crash-safe.

    <store>/LOCK                  locked (flock) by the one server that uses the store; holds its process ID
    <store>/metadata.sqlite3      engines, names and versions (metadata.py)
    <store>/incoming/<uuid>.part  uploads under way (staging.py)
    <store>/plans/<digest>.plan   plans, each named by the SHA-256 of its bytes
    <store>/loading/              which plans are being loaded (load_marks.py)

One rule: the rows are the truth. A plan that no row knows was never added, or has been removed. That
holds only where there are rows: with plans and no database the start is refused. Files that are not
named as the store names its own are somebody's, and are left alone.

Adding an engine                                 killed after this line, the next start
  1  write incoming/<uuid>.part, fsync it        deletes the part
  2  rename it to plans/<digest>.plan,
     fsync both folders                          deletes the plan
  3  load it (the registry)                      deletes the plan
  4  commit the rows of engine and version       serves it
  5  answer 201                                  serves it

Unloading an engine
  1  commit that it is not loaded                keeps it unloaded
  2  drain and unload it (the registry)          keeps it unloaded
  3  answer                                      keeps it unloaded

Loading it again, maybe with other options
  1  load it (the registry)                      keeps it unloaded, with the options of before
  2  commit that it is loaded, and the options   serves it
  3  answer                                      serves it

Making another version of a name current
  1  load its engine again, where need be        as above; the name is as before
  2  commit                                      serves the name by that version
  3  answer                                      serves the name by that version

Removing an engine
  1  commit the deletion of its rows             deletes the plan
  2  drain and unload it (the registry)          deletes the plan
  3  delete the plan                             has nothing to do
  4  answer 204

So what was answered holds, and what was not answered has happened whole or not at all. Within a
process, the registry's lock of the engine ID keeps a removal's step 3 from meeting an addition's step 2.
"""

import fcntl
import logging
import os
import re
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

from service.errors import Conflict, Unavailable
from service.load_marks import LoadMarks
from service.metadata import Metadata, StoredEngine, StoredName
from service.staging import PlanWriter, StagedPlan

logger = logging.getLogger(__name__)

PLAN_NAME = re.compile(r"[0-9a-f]{64}\.plan")
LOAD_NAME = re.compile(PLAN_NAME.pattern + r"\.[0-9A-Za-z]{6}")  # a folder that a backend loads a plan from
PART_NAME = re.compile(r"[0-9a-f]{32}\.part")


class Store:
    """The folder of a server. Every method blocks; the registry calls them from its one store thread.

    `new_upload` is the exception: it may be called from any thread.
    """

    def __init__(self, root: Path) -> None:
        """Open the store, made if missing, and clear away what a killed server left half-done.

        Raises Conflict where another server has it open, and Unavailable where it cannot be used.
        """
        self._root = root
        self._incoming = root / "incoming"
        self._plans = root / "plans"
        try:
            with ExitStack() as opened:
                _make_folder(root)
                self._incoming.mkdir(exist_ok=True)
                self._plans.mkdir(exist_ok=True)
                self._lock = opened.enter_context(_lock(root / "LOCK"))
                plans = len(_named(self._plans, PLAN_NAME))
                self._metadata = Metadata(root / "metadata.sqlite3", plans_beside=plans)
                opened.callback(self._metadata.close)
                self.marks = LoadMarks(root / "loading")  # from any thread
                _sync_folder(root)
                self._clear_leftovers()
                opened.pop_all()
        except OSError as failure:
            where = f" ({failure.filename})" if failure.filename else ""
            raise Unavailable(f"The store {root} cannot be used: {failure.strerror}{where}.") from failure

    def close(self) -> None:
        self._metadata.close()
        self._lock.close()

    # -- reading

    def engines(self) -> list[StoredEngine]:
        return self._metadata.engines()

    def names(self) -> dict[str, StoredName]:
        return self._metadata.names()

    def unloaded(self) -> set[int]:
        """The IDs of the engines that a start does not load."""
        return self._metadata.unloaded()

    def plan_path(self, engine: StoredEngine) -> Path:
        return self._plans / f"{engine.digest}.plan"

    def check_plan(self, engine: StoredEngine) -> None:
        """Raise Unavailable unless the plan is there in its full length."""
        try:
            size = self.plan_path(engine).stat().st_size
        except OSError as failure:
            raise Unavailable(f"Its plan in the store cannot be read: {failure.strerror}.") from failure
        if size != engine.plan_bytes:
            raise Unavailable(f"Its plan in the store has {size} bytes instead of {engine.plan_bytes}.")

    # -- changing, in the order that the head of this file gives

    def new_upload(self) -> PlanWriter:
        try:
            return PlanWriter(self._incoming)
        except OSError as failure:
            raise Unavailable(f"The store cannot take a plan now: {failure.strerror}.") from failure

    def adopt(self, staged: StagedPlan, engine: StoredEngine) -> None:
        """Move a staged plan to its place."""
        try:
            staged.path.replace(self.plan_path(engine))
            _sync_folder(self._plans)
            _sync_folder(self._incoming)
        except OSError as failure:
            raise Unavailable(f"The store cannot keep the plan: {failure.strerror}.") from failure

    def commit(
        self, engine: StoredEngine, name: str | None, version: int | None = None
    ) -> dict[str, StoredName]:
        """From here on the engine is served after every restart; under the name too, if there is one."""
        return self._metadata.add(engine, name, version)

    def unload(self, id: int) -> None:
        """From here on the engine is kept, but no start loads it, until it is committed again."""
        self._metadata.unload(id)

    def point(self, name: str, version: int) -> dict[str, StoredName]:
        """From here on this version is the one that its name stands for."""
        return self._metadata.point(name, version)

    def forget_engine(self, id: int) -> dict[str, StoredName]:
        return self._metadata.remove_engine(id)

    def forget_version(self, name: str, version: int) -> dict[str, StoredName]:
        """This version of the name goes, and its engine where no other version points to it."""
        return self._metadata.remove_version(name, version)

    def delete_plan(self, engine: StoredEngine) -> None:
        """Delete the plan of an engine that has no row (any more), with what an ended load left of it."""
        plan = self.plan_path(engine)
        plan.unlink(missing_ok=True)
        with suppress(OSError):  # what cannot be cleared away now is by the next start
            for folder in _named(self._plans, LOAD_NAME):
                if folder.name.startswith(plan.name):
                    shutil.rmtree(folder)

    def _clear_leftovers(self) -> None:
        known = {self.plan_path(engine) for engine in self.engines()}
        for leftover in _named(self._incoming, PART_NAME) | (_named(self._plans, PLAN_NAME) - known):
            logger.info("store: deleting %s, left half-done by an earlier server", leftover.name)
            leftover.unlink()
        for folder in _named(self._plans, LOAD_NAME):
            logger.info("store: deleting %s, left by a load that an earlier server did not end", folder.name)
            shutil.rmtree(folder)


def _named(folder: Path, name: re.Pattern[str]) -> set[Path]:
    """The files of the folder with such a name."""
    return {path for path in folder.iterdir() if name.fullmatch(path.name)}


def _lock(path: Path) -> BinaryIO:
    """Lock the file for as long as it is open: the kernel lets go of it however this process ends."""
    file = path.open("a+b")
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
    file.truncate(0)
    file.write(f"{os.getpid()}\n".encode())
    file.flush()
    return file


def _make_folder(folder: Path) -> None:
    """Make a folder with those above it, unless it is there: on the disk itself, as what comes into it."""
    made = [missing for missing in (folder, *folder.parents) if not missing.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for new in made:
        _sync_folder(new.parent)


def _sync_folder(folder: Path) -> None:
    """Bring the folder's entries (a rename, a new file) to the disk itself."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
