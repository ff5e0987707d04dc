"""The metadata's database file: opened, migrated, and rewritten if it is damaged."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trtserve.errors import Unavailable
from trtserve.store.database_copy import Copy, CopyFile
from trtserve.store.folder import COPY_NAME, sync_folder
from trtserve.store.opening import Beside, DamagedDatabase, Decision, Found, Opening, decide, look, one_line
from trtserve.store.reserve import disk_full, is_full
from trtserve.store.schema import (
    SCHEMA_VERSION,
    begin_change,
    bring_up_to_date,
    new_store,
    seal,
    write_rows,
)
from trtserve.store.set_aside import SetAside

logger = logging.getLogger(__name__)

DAMAGED = {
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_FORMAT,
    sqlite3.SQLITE_SCHEMA,
}
"""SQLite errors that are the file's fault; the others are the disk's, or pass."""


class DatabaseFile:
    """One opening of the database. Not thread safe."""

    def __init__(self, path: Path) -> None:
        self.copy = CopyFile(path.with_name(COPY_NAME), SCHEMA_VERSION)
        self._path = path
        self._aside = SetAside(path.parent)
        self._schema = SCHEMA_VERSION  # of the tables, until they are brought up to date
        self._begun = False  # True: the database is a new, empty one that replaces an unreadable one

    def open(self, beside: Beside, opening: Opening) -> tuple[sqlite3.Connection, Decision]:
        """Decide which rows hold, write them to the database and its copy, and return a connection."""
        try:
            db, found, complaint = self._connect_and_look(len(beside.plans))
            opening = Opening.USUAL if opening is Opening.REBUILD else opening
        except DamagedDatabase:
            if opening is not Opening.REBUILD:
                raise
            self._put_aside("-wal", "-shm", "")
            self._begun = True
            db, found, complaint = self._connect_and_look(0)
        try:
            decision = decide(found, self.copy, beside, opening, new_store)
            if complaint:
                decision.notes.append(f"The database was damaged, and was rewritten ({complaint}).")
            with told(self._path, opening=True):
                return self._settled(db, found, decision, damaged=complaint is not None), decision
        except BaseException:
            db.close()
            raise

    def _connect_and_look(self, plans: int) -> tuple[sqlite3.Connection, Found, str | None]:
        """Connect, make missing tables, and read; the last value is SQLite's complaint, if any."""
        path = self._path
        if (path.exists() or path.is_symlink()) and not path.is_file():
            raise unusable(path, "it is not a file")
        # A refusal must create no file: a database that is put back must not find a journal of this one.
        version = self._version() if path.exists() else 0
        if version == 0 and plans:
            raise DamagedDatabase(
                f"{path} is missing or empty beside {plans} plans: nothing says which engines and names they "
                "belong to. Put the database back from a backup, run `trtserve store check --repair --store "
                f"{path.parent}`, or move the plans out of {path.parent / 'plans'} to start with an empty "
                "store."
            )
        if version > SCHEMA_VERSION:
            raise Unavailable(
                f"{path} was written by a newer trtserve (schema {version}; this one knows "
                f"{SCHEMA_VERSION}). Start that version, or use another store."
            )
        with told(path, opening=True):
            db = connect(path)
            try:
                if version == 0:
                    bring_up_to_date(db, version)
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                if version == 0 and not self._begun:
                    self._aside.take_if_there(self.copy.path)  # left by an earlier store
                self._schema = version or SCHEMA_VERSION
                return db, *look(db, version)
            except BaseException:
                db.close()
                raise

    def _version(self) -> int:
        with told(self._path, opening=True):
            db = sqlite3.connect(self._path, isolation_level=None)
            try:
                (found,) = db.execute("PRAGMA user_version").fetchone()
            finally:
                db.close()
        if found < 0:
            raise unusable(self._path, f"its version is {found}")
        return int(found)

    def _settled(
        self, db: sqlite3.Connection, found: Found, decision: Decision, *, damaged: bool
    ) -> sqlite3.Connection:
        """Write the decision to the database and its copy."""
        if decision.copy_aside:
            self._aside.take_if_there(self.copy.path)
        if damaged or decision.rows != found.rows:
            # The copy first: a kill in between leaves a database that is older than the copy, or none.
            self._write_copy(decision)
            return self._written_anew(db, decision)
        sealed = (found.store, found.generation, found.whole) == (decision.store, decision.generation, True)
        if self._schema < SCHEMA_VERSION or not sealed:
            begin_change(db, self._schema)
            seal(db, decision.rows, decision.store, decision.generation)
            db.execute("COMMIT")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        if not decision.copied:
            self._write_copy(decision)
        return db

    def _write_copy(self, decision: Decision) -> None:
        self.copy.prepare(Copy(decision.store, decision.generation, decision.rows))
        self.copy.put()

    def _written_anew(self, old: sqlite3.Connection, decision: Decision) -> sqlite3.Connection:
        """Replace the open database with a new one in one step, and set the old one aside."""
        new = self._path.with_name(f"{self._path.name}.new")
        for left in (new, new.with_name(f"{new.name}-journal")):
            left.unlink(missing_ok=True)
        db = sqlite3.connect(new, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous = FULL")
            bring_up_to_date(db, 0)
            db.execute("BEGIN IMMEDIATE")
            write_rows(db, decision.rows)
            seal(db, decision.rows, decision.store, decision.generation)
            db.execute("COMMIT")
        finally:
            db.close()
        old.close()
        # Between these steps there is always a database: without its log it is older than the copy.
        self._put_aside("-wal", "-shm")
        if not self._begun:
            self._aside.keep(self._path)
        new.replace(self._path)
        sync_folder(self._path.parent)
        return connect(self._path)

    def _put_aside(self, *suffixes: str) -> None:
        """Set the files of the database with these suffixes aside: its log fits no other database."""
        for suffix in suffixes:
            path = self._path.with_name(self._path.name + suffix)
            if self._begun:
                path.unlink(missing_ok=True)
            else:
                self._aside.take_if_there(path)


def connect(path: Path) -> sqlite3.Connection:
    # isolation_level None: no transaction begins unless this package says BEGIN.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def told(path: Path, *, opening: bool = False) -> Iterator[None]:
    """Turn an error of SQLite or the disk into a sentence; it shows the path only while `opening`."""
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeDecodeError) as failure:  # the last if SQLite quotes the file
        if is_full(failure, path.parent):
            raise disk_full(path.parent, "The store's metadata cannot be changed") from failure
        code = getattr(failure, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        said = failure.strerror if isinstance(failure, OSError) else one_line(failure)
        if opening and not isinstance(failure, OSError) and code in DAMAGED:
            raise unusable(path, said) from failure
        if opening:
            raise Unavailable(f"The store's metadata in {path} cannot be used: {said}.") from failure
        logger.error("store: the metadata in %s: %s", path, failure)
        raise Unavailable(f"The store's metadata cannot be used: {said}.") from failure


def unusable(path: Path, why: str | None) -> DamagedDatabase:
    return DamagedDatabase(
        f"The store's metadata in {path} cannot be used: {why}. Put it back from a backup, or run "
        f"`trtserve store check --store {path.parent}`, which says what is left; with --repair it sets the "
        "file aside and builds a new one from its copy and the plans."
    )
