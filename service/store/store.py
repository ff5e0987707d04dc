"""Plans and their metadata on disk, crash-safe.

Above 400 lines, because every change of a file and its row is here, in the order that a crash demands.

    <store>/LOCK                  locked (flock) by the one server that uses the store; holds its process ID
    <store>/metadata.sqlite3      engines, names and versions (database.py)
    <store>/metadata.copy         the same rows, as of the last answered change
    <store>/incoming/<uuid>.part  uploads in progress (staging.py)
    <store>/plans/<digest>.plan   plans, each named by the SHA-256 of its bytes
    <store>/built/                models that plans are built from, and the plans (built_files.py)
    <store>/timing/               timing caches of the libraries that build them
    <store>/compiled/             what backends made of plans, for the next load (compiled_files.py)
    <store>/loading/              which plans are being loaded (load_marks.py)
    <store>/pending/<digest>      an empty file: this plan is being added or removed
    <store>/RESERVE               space that a removal uses if the disk is full (reserve.py)
    <store>/folder.json           what was taken from a folder of models (served_folder.py)
    <store>/set-aside/            what a start could not place: kept until a person has looked (set_aside.py)

One rule: the rows are the truth. They are kept twice, and what one file loses comes back from the other
(opening.py). A plan without a row is deleted only if that is known to be right: both files agree, and its
mark in pending/ says that it was being added or removed. Any other is set aside, never deleted. Files whose
names are not in the store's own form are left alone.

Adding an engine                                 after a kill here, the next start
  1  write incoming/<uuid>.part, fsync it        deletes the part
  2  mark the digest in pending/                 deletes part and mark
  3  rename the part to plans/<digest>.plan,
     fsync both folders                          deletes plan and mark
  4  load it (the registry)                      deletes plan and mark
  5  commit the rows of engine and version
     to the database                             serves it, deletes the mark
  6  rename their copy to its place              serves it, deletes the mark
  7  delete the mark                             serves it
  8  answer 201                                  serves it

Unloading an engine
  1  commit that it is not loaded, and copy      keeps it unloaded
  2  drain and unload it (the registry)          keeps it unloaded
  3  answer                                      keeps it unloaded

Loading it again, perhaps with other options
  1  load it (the registry)                      keeps it unloaded, with its earlier options
  2  commit that it is loaded, and the options,
     and copy                                    serves it
  3  answer                                      serves it

Making another version of a name current
  1  load its engine again, if needed            as above; the name is as before
  2  commit, and copy                            serves the name with that version
  3  answer                                      serves the name with that version

Removing an engine
  1  mark the digest in pending/                 serves it, deletes the mark
  2  commit the deletion of its rows, and copy   deletes plan and mark
  3  drain and unload it (the registry)          deletes plan and mark
  4  delete the plan and its compiled model,
     then the mark                               deletes the mark
  5  answer 204                                  has nothing to do

Adding an engine that is built here, digest and mark as above
  1  write incoming/<uuid>.part, fsync it        deletes the part
  2  mark the digest in pending/                 deletes part and mark
  3  rename the part to built/<digest>.onnx      deletes model and mark
  (  commit a row without a plan, and copy;      builds it
     delete the mark, and answer 202:
     only if that was asked for              )
  4  build incoming/<uuid>.part                  deletes the part; as before for the rest
  5  rename it to built/<digest>.<plan>.plan     deletes the plan; as before for the rest
  6  if there is a row: commit that this is its
     plan, and copy                              serves it
  7  load it (the registry)                      serves it if there is a row
  8  commit the rows of engine and version, and
     copy; delete the mark                       serves it
  9  answer 201, if it was not answered          serves it

Building it again, because the server's library or GPU is another one
  1  build incoming/<uuid>.part                  deletes the part, builds it again
  2  rename it to built/<digest>.<plan>.plan     deletes the new plan, builds it again
  3  commit that this is its plan, and copy      serves it, deletes the old plan
  4  delete the old plan                         serves it
  5  load it (the registry)                      serves it

So an answered change holds, and an unanswered one happened whole or not at all. That is so after a power
failure too: each step is on the disk before the next one begins, renames and marks by an fsync of the folder.
Only the deletion of a mark may wait: if a power failure brings a mark back, its plan has a row, or is gone.
Within a process, the registry's lock on the engine ID keeps a removal's step 4 from meeting an addition's
step 3.

Above 400 lines, because the order of every change stands here.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from trtserve.errors import Unavailable, resting
from trtserve.store.beside import beside_database
from trtserve.store.built_files import BuiltFiles
from trtserve.store.compiled_files import CompiledFiles
from trtserve.store.database import Database, StoredEngine, StoredName
from trtserve.store.folder import (
    MARK_NAME,
    PART_NAME,
    PLAN_NAME,
    Layout,
    inherited_lock,
    lock,
    make_folder,
    named,
    sync_folder,
    write_owner,
)
from trtserve.store.load_marks import LoadMarks
from trtserve.store.opening import Opening
from trtserve.store.plan_file import check_plan, check_source, is_plain
from trtserve.store.reserve import LEAST_BYTES, DiskFull, Reserve, disk_full, free_bytes, is_full
from trtserve.store.served_folder import ServedFile
from trtserve.store.set_aside import SetAside
from trtserve.store.staging import PlanWriter, StagedPlan

logger = logging.getLogger(__name__)

T = TypeVar("T")

REPAIR = "`trtserve store check --repair`"


class Store:
    """A server's folder on disk. Every method blocks; the registry calls them from its one store thread.

    `new_upload`, `plan_path`, `source_path`, `check_plan` and `check_source` are the exceptions: any thread
    may call them.
    """

    def __init__(self, root: Path, opening: Opening = Opening.USUAL, *, inherited: int | None = None) -> None:
        """Open the store, made if missing, and clear away what a killed server left unfinished.

        `inherited` is a descriptor of its lock, from a server whose store rests; it stays the caller's.
        Raises Conflict if another server has it open, and Unavailable if it cannot be used.
        """
        self._root = root
        self._layout = layout = Layout(root)
        self._reserve = Reserve(layout.reserve)
        self.aside = SetAside(root)
        self.built = BuiltFiles(layout, self.aside)
        self.compiled = CompiledFiles(layout)  # any thread may use it
        self.served = ServedFile(root)  # only a folder of models uses it
        try:
            with ExitStack() as opened:
                make_folder(root)
                for folder in (*layout.for_plans, layout.timing, layout.compiled):
                    folder.mkdir(exist_ok=True)
                held = lock(layout.lock) if inherited is None else inherited_lock(layout.lock, inherited)
                self._lock = opened.enter_context(held)
                self._open: Database | None = self._open_database(opening)  # None: the store rests
                self._lost = ""  # why it rests for good; empty: it does not
                opened.callback(self._open.close)
                self.marks = LoadMarks(layout.loading)  # any thread may use it
                sync_folder(root)
                for note in self.notes:
                    logger.warning("store: %s", note)
                self._clear_leftovers()
                self._reserve.hold(self._reserved())
                opened.pop_all()
        except OSError as failure:
            where = f" ({failure.filename})" if failure.filename else ""
            raise Unavailable(f"The store {root} cannot be used: {failure.strerror}{where}.") from failure

    def _open_database(self, opening: Opening) -> Database:
        path = self._layout.database
        beside = beside_database(self._layout)
        try:
            return Database(path, beside, opening)
        except DiskFull:
            if not self._reserve.release():
                raise
            return Database(path, beside, opening)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._lock.close()

    # -- a warm restart

    @property
    def lock_descriptor(self) -> int:
        """What a successor inherits: with it, it holds the lock as this process does."""
        return self._lock.fileno()

    def rest(self) -> None:
        """Change nothing from now on, and keep the lock, so that a successor can open the store.

        Changes are refused with an Unavailable. What was under way is undone by the successor's start, as
        after a kill.
        """
        if self._open is not None:
            self._open.close()
            self._open = None
        self.marks.paused = self.compiled.paused = True
        self.served.rest(self._refusal)

    def resume(self) -> None:
        """Use the store again, after the successor has ended. Raises Unavailable if it cannot be opened any
        more, because it is damaged or the successor was of a newer version: then changes stay refused."""
        write_owner(self._lock)
        try:
            self._open = self._open_database(Opening.USUAL)
        except Unavailable as failure:
            self._lost = (
                "The server answers requests and takes no changes: a new process failed to replace it, and "
                f"left the store in a state that this one cannot use. {failure} Then restart the server."
            )
            raise
        self.marks.paused = self.compiled.paused = False
        self.served.resume()

    def _refusal(self) -> Unavailable:
        return Unavailable(self._lost) if self._lost else resting()

    @property
    def _database(self) -> Database:
        if self._open is None:
            raise self._refusal()
        return self._open

    # -- reading

    @property
    def notes(self) -> list[str]:
        """What was wrong when the store was opened: one sentence each."""
        return self._database.notes

    def engines(self) -> list[StoredEngine]:
        return self._database.engines()

    def names(self) -> dict[str, StoredName]:
        return self._database.names()

    def unloaded(self) -> set[int]:
        """The IDs of the engines that a start does not load."""
        return self._database.unloaded()

    def plan_path(self, engine: StoredEngine) -> Path:
        return self._layout.plan(engine)

    def source_path(self, engine: StoredEngine) -> Path:
        """The ONNX model of an engine that is built here."""
        return self._layout.source(engine)

    def check_plan(self, engine: StoredEngine) -> None:
        """Raise Unavailable unless the plan is what was uploaded, or built; reads all of it."""
        check_plan(self._layout, engine)

    def check_source(self, engine: StoredEngine) -> None:
        """Raise Unavailable unless the model of an engine that is built here is what was uploaded."""
        check_source(self._layout, engine)

    def is_damaged(self, engine: StoredEngine) -> bool:
        """True if the plan is missing, or is not what was uploaded."""
        try:
            self.check_plan(engine)
        except Unavailable:
            return True
        return False

    # -- changing, in the order that the head of this file gives

    def new_upload(self, declared: int | None = None) -> PlanWriter:
        """Begin an upload; `declared` is how many bytes will arrive, if known."""
        _ = self._database  # while the store rests, nothing is received in vain
        if declared is not None and declared > free_bytes(self._root):
            raise disk_full(self._root, f"The plan of {declared / 1e6:.1f} MB does not fit")
        try:
            return PlanWriter(self._layout.incoming)
        except OSError as failure:
            if is_full(failure, self._root):
                raise disk_full(self._root, "The store cannot take a plan now") from failure
            raise Unavailable(f"The store cannot take a plan now: {failure.strerror}.") from failure

    def adopt(self, staged: StagedPlan, engine: StoredEngine) -> None:
        """Move what was uploaded, a plan or a model to build one from, to its place."""
        place = self.plan_path(engine) if engine.build is None else self.source_path(engine)
        self._place(staged, engine, place)

    def adopt_built(self, staged: StagedPlan, engine: StoredEngine) -> None:
        """Move a plan that was built to its place; with a row, every restart serves it from here on."""
        self._place(staged, engine, self.plan_path(engine))
        self.record_build(engine)

    def record_build(self, engine: StoredEngine) -> None:
        """From here on the engine's row, if there is one, says of its build what `engine` does."""
        self._with_reserve(lambda: self._database.built(engine))
        self.built.keep_only_plan(engine)

    def record_check(self, engine: StoredEngine) -> None:
        """From here on the engine's row, if there is one, says of its batches what `engine` does."""
        self._database.checked(engine)

    def record_options(self, engine: StoredEngine) -> None:
        """From here on the engine's row, if there is one, has the options of `engine`."""
        self._with_reserve(lambda: self._database.optioned(engine))

    def record_measures(self, engines: Sequence[StoredEngine]) -> None:
        """From here on the engines' rows, if there are any, say of their memory what `engines` do."""
        self._database.measured(engines)

    def _place(self, staged: StagedPlan, engine: StoredEngine, place: Path) -> None:
        try:
            if not self._database.knows(engine.digest):
                self._mark(engine.digest)
            self._make_room(place)
            staged.path.replace(place)
            sync_folder(place.parent)
            sync_folder(self._layout.incoming)
        except OSError as failure:
            if is_full(failure, self._root):
                raise disk_full(self._root, "The store cannot keep the plan") from failure
            raise Unavailable(f"The store cannot keep the plan: {failure.strerror}.") from failure

    def commit(
        self, engine: StoredEngine, name: str | None, version: int | None = None
    ) -> dict[str, StoredName]:
        """From here on every restart serves the engine, under the name too if there is one."""
        names = self._database.add(engine, name, version)
        self._unmark(engine.digest)
        return names

    def unload(self, id: int) -> None:
        """From here on the engine is kept, but no start loads it, until it is committed again."""
        self._with_reserve(lambda: self._database.unload(id))

    def point(self, name: str, version: int) -> dict[str, StoredName]:
        """From here on the name stands for this version."""
        return self._with_reserve(lambda: self._database.point(name, version))

    def forget_engine(self, id: int) -> dict[str, StoredName]:
        """Remove the engine, and every version that points to it."""
        self._mark(self._database.digest(id))
        return self._with_reserve(lambda: self._database.remove_engine(id))

    def forget_version(self, name: str, version: int, engine: int) -> dict[str, StoredName]:
        """Remove this version of the name, if it is the engine, and that unless another version is it."""
        digest = self._database.digest(engine)
        self._mark(digest)
        names = self._with_reserve(lambda: self._database.remove_version(name, version, engine))
        if self._database.knows(digest):
            self._unmark(digest)
        return names

    def delete_plan(self, engine: StoredEngine) -> None:
        """Delete the files of an engine that has no row, or no longer has one."""
        place = self.plan_path(engine)
        try:
            self._make_room(place)
            place.unlink(missing_ok=True)
            self.built.delete(engine)
            self.compiled.delete(engine.digest)
            sync_folder(place.parent)  # a loss of power must not bring the plan back without its mark
            self._unmark(engine.digest)
        except OSError as failure:  # the next start tries again
            logger.error("store: the plan %s cannot be deleted: %s", place.name, failure.strerror)
        self._reserve.hold(self._reserved())

    def bring_back(self, path: Path, engine: StoredEngine) -> None:
        """Return a plan that was set aside to its place, and add a row if it has none."""
        place = self.plan_path(engine)
        self._make_room(place)
        path.replace(place)
        sync_folder(self._layout.plans)
        sync_folder(path.parent)
        if not self._database.knows(engine.digest):
            self._database.add(engine, None)

    def _with_reserve(self, change: Callable[[], T]) -> T:
        """Make a change that adds no plan; if the disk is full, use the reserved space."""
        try:
            return change()
        except DiskFull:
            if not self._reserve.release():
                raise
            logger.warning("store: the disk is full: using the reserved space")
            try:
                return change()
            finally:
                with suppress(Unavailable):
                    self._database.shrink_log()
                self._reserve.hold(self._reserved())

    def _reserved(self) -> int:
        """Bytes to reserve: a change writes SQLite's log, and rewrites the whole copy."""
        return LEAST_BYTES + 2 * self._database.copy_bytes()

    # -- marks, and what a killed server left

    def _mark(self, digest: str) -> None:
        """Mark the plan as one to delete if it has no row. Without the mark, a start sets it aside."""
        with suppress(OSError):
            (self._layout.pending / digest).touch()
            sync_folder(self._layout.pending)

    def _unmark(self, digest: str) -> None:
        with suppress(OSError):
            (self._layout.pending / digest).unlink(missing_ok=True)

    def _make_room(self, place: Path) -> None:
        """Set aside whatever occupies a plan's place and is not a file."""
        if not is_plain(place):
            logger.warning("store: %s is not a file: set aside as %s", place.name, self.aside.take(place))

    def _clear_leftovers(self) -> None:
        marked = (
            {mark.name for mark in named(self._layout.pending, MARK_NAME)} if self._database.sound else set()
        )
        engines = self.engines()
        known = {self.plan_path(engine) for engine in engines}
        half_done = named(self._layout.incoming, PART_NAME)
        models, unnamed = self.built.leftovers(engines)
        half_done |= unnamed
        for plan in (named(self._layout.plans, PLAN_NAME) - known) | models:
            if plan.stem in marked and is_plain(plan):
                half_done.add(plan)
                continue
            advice = "upload it again" if plan in models else f"{REPAIR} --store {self._root} serves it again"
            logger.warning(
                "store: the metadata has no row for %s: set aside as %s; %s",
                plan.name,
                self.aside.take(plan),
                advice,
            )
        for leftover in half_done:
            logger.info("store: deleting %s, left unfinished by an earlier server", leftover.name)
            if is_plain(leftover):
                leftover.unlink()
            else:
                self.aside.take(leftover)
        if half_done:  # the marks must not be gone before the plans are
            for folder in self._layout.for_plans:
                sync_folder(folder)
        self.built.delete_half_written_caches()
        self.compiled.keep_only({engine.digest for engine in engines})
        for mark in named(self._layout.pending, MARK_NAME):
            mark.unlink() if is_plain(mark) else self.aside.take(mark)
