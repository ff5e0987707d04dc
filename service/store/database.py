"""What the store knows of its plans besides their bytes: engines, names and versions, in SQLite.

Every method that changes something is one transaction, on the disk itself when it returns (WAL with
synchronous=FULL), in the database and in its copy (database_copy.py). The copy is written before the commit
and moved into place after it: so it is never ahead, at most one change behind, and has every answered change.
A method returns all names as they are then, read before the commit: after that nothing can fail.
"""

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import fields
from pathlib import Path

from trtserve.errors import Unavailable
from trtserve.store.database_copy import Copy, CopyFile
from trtserve.store.database_file import DatabaseFile, told
from trtserve.store.opening import Beside, Opening
from trtserve.store.rows import Exactly, StoredEngine, StoredName
from trtserve.store.schema import SCHEMA_VERSION, read_rows, seal

__all__ = ["Database", "Reader", "StoredEngine", "StoredName", "read_only"]

logger = logging.getLogger(__name__)

_COLUMNS = ", ".join(field.name for field in fields(StoredEngine))
_MARKS = ", ".join(f":{field.name}" for field in fields(StoredEngine))
_RENEWED = [field.name for field in fields(StoredEngine) if field.name not in {"id", "created"}]


class Reader:
    """Reads engines and names. Not thread safe: its owner calls it from one thread at a time."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path

    def close(self) -> None:
        self._db.close()

    def engines(self) -> list[StoredEngine]:
        with self._told():
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM engine ORDER BY created, id")
            columns = [column for column, *_ in rows.description]
            return [StoredEngine.of_row(dict(zip(columns, row, strict=True))) for row in rows]

    def names(self) -> dict[str, StoredName]:
        with self._told():
            return _names(self._db)

    def _told(self) -> AbstractContextManager[None]:
        return told(self._path)


def read_only(path: Path) -> Reader:
    """The database of a store that a server may have open: nothing beside it is created or changed.

    Raises Unavailable if it cannot be read, or belongs to another version.
    """
    # If there is no journal, no process has it open. A plain read would create one and could not remove it.
    journal = path.with_name(f"{path.name}-wal")
    how = "mode=ro" if journal.exists() else "mode=ro&immutable=1"
    with told(path, opening=True):
        db = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)
        (found,) = db.execute("PRAGMA user_version").fetchone()
    if found != SCHEMA_VERSION:
        db.close()
        raise Unavailable(
            f"{path} was written by another version of trtserve (schema {found}; this one reads "
            f"{SCHEMA_VERSION}). A server of this version brings an older one up to date at its start."
        )
    return Reader(db, path)


class Database(Reader):
    """The database of the store that is open here, for changes."""

    def __init__(self, path: Path, beside: Beside | None = None, opening: Opening = Opening.USUAL) -> None:
        """Open the database; create it if missing, unless there are plans: then it was lost.

        Afterwards `notes` has a sentence for each problem found, and `sound` says whether database and copy
        agreed. Raises DamagedDatabase if it cannot be read and is not to be rebuilt, and Unavailable for
        the database of a newer version, and for errors of the disk.
        """
        file = DatabaseFile(path)
        db, decision = file.open(beside or Beside(), opening)
        super().__init__(db, path)
        self._copy: CopyFile = file.copy
        self._store, self._generation = decision.store, decision.generation
        self.notes, self.sound = decision.notes, decision.sound

    def knows(self, digest: str) -> bool:
        """True if an engine has this plan."""
        with self._told():
            return self._db.execute("SELECT 1 FROM engine WHERE digest = ?", (digest,)).fetchone() is not None

    def digest(self, id: int) -> str:
        """The digest of an engine's plan; empty if there is no such engine."""
        return self._one("SELECT digest FROM engine WHERE id = ?", id)

    def _one(self, query: str, *values: object) -> str:
        with self._told():
            found = self._db.execute(query, values).fetchone()
        return str(found[0]) if found is not None else ""

    def unloaded(self) -> set[int]:
        """The IDs of the engines that are stored but not to be loaded."""
        with self._told():
            return {id for (id,) in self._db.execute("SELECT id FROM engine WHERE NOT loaded")}

    def add(
        self, engine: StoredEngine, name: str | None, version: int | None = None
    ) -> dict[str, StoredName]:
        """Store the engine as loaded; under a name, make it current there.

        If it is not yet a version of the name, it becomes one with the next number, or with `version` if that
        is greater; see Exactly for a version that is one.
        """
        with self._transaction() as db:
            # An engine may be loaded again after a failure or an unload, with the options of this time.
            renewed = ", ".join(f"{column} = excluded.{column}" for column in _RENEWED)
            db.execute(
                f"INSERT INTO engine ({_COLUMNS}) VALUES ({_MARKS}) "
                f"ON CONFLICT (id) DO UPDATE SET {renewed}, loaded = 1",
                engine.as_row(),
            )
            if name is not None:
                if isinstance(version, Exactly):
                    _point_exactly(db, name, engine.id, version)
                else:
                    _point(db, name, engine.id, version or 0)
            return _names(db)

    def built(self, engine: StoredEngine) -> None:
        """Change what the engine's row, if it has one, says of its build and its plan."""
        with self._transaction() as db:
            db.execute(
                "UPDATE engine SET build = :build, plan_bytes = :plan_bytes WHERE id = :id", engine.as_row()
            )

    def checked(self, engine: StoredEngine) -> None:
        """Change what the engine's row, if it has one, says of its batches and of what it calls."""
        with self._transaction() as db:
            db.execute("UPDATE engine SET batching = :batching, uses = :uses WHERE id = :id", engine.as_row())

    def optioned(self, engine: StoredEngine) -> None:
        """Change the options in the engine's row, if it has one, and what depends on them."""
        with self._transaction() as db:
            db.execute(
                "UPDATE engine SET options = :options, batching = :batching WHERE id = :id", engine.as_row()
            )

    def measured(self, engines: Sequence[StoredEngine]) -> None:
        """Change what the rows of these engines, if they have any, say of their memory."""
        with self._transaction() as db:
            rows = [engine.as_row() for engine in engines]
            db.executemany("UPDATE engine SET measured = :measured WHERE id = :id", rows)

    def unload(self, id: int) -> None:
        """Keep the engine, its versions and their names, but mark it as not loaded."""
        with self._transaction() as db:
            db.execute("UPDATE engine SET loaded = 0 WHERE id = ?", (id,))

    def point(self, name: str, version: int) -> dict[str, StoredName]:
        """Make this version of the name the current one."""
        with self._transaction() as db:
            db.execute(
                "UPDATE name SET current = ?2 WHERE name = ?1 "
                "AND EXISTS (SELECT 1 FROM version WHERE name = ?1 AND version = ?2)",
                (name, version),
            )
            return _names(db)

    def remove_engine(self, id: int) -> dict[str, StoredName]:
        """Forget the engine and every version that points to it."""
        with self._transaction() as db:
            names = db.execute("SELECT name FROM version WHERE engine = ?", (id,)).fetchall()
            db.execute("DELETE FROM version WHERE engine = ?", (id,))
            for (name,) in names:
                _fall_back(db, name)
            db.execute("DELETE FROM engine WHERE id = ?", (id,))
            return _names(db)

    def remove_version(self, name: str, version: int, engine: int) -> dict[str, StoredName]:
        """Forget that this version of the name is the engine, and the engine unless another version is it."""
        with self._transaction() as db:
            db.execute(
                "DELETE FROM version WHERE name = ? AND version = ? AND engine = ?", (name, version, engine)
            )
            _fall_back(db, name)
            db.execute(
                "DELETE FROM engine WHERE id = ? AND id NOT IN (SELECT engine FROM version)", (engine,)
            )
            return _names(db)

    def copy_bytes(self) -> int:
        """The size in bytes of the copy, which every change rewrites."""
        return self._copy.size()

    def shrink_log(self) -> None:
        """Release the space of the write-ahead log, as far as possible now."""
        with self._told():
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                generation = self._generation + 1
                rows = read_rows(self._db)
                seal(self._db, rows, self._store, generation)
                self._copy.prepare(Copy(self._store, generation, rows))
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._copy.drop()
                raise
        self._generation = generation
        try:
            self._copy.put()
        except OSError as failure:  # it is committed anyway, and the next change rewrites the copy
            logger.error("store: the copy of the metadata cannot be put in its place: %s", failure)


def _names(db: sqlite3.Connection) -> dict[str, StoredName]:
    names = {
        name: StoredName(current, {})
        for name, current in db.execute("SELECT name, current FROM name ORDER BY name")
    }
    for name, version, engine in db.execute(
        "SELECT name, version, engine FROM version ORDER BY name, version"
    ):
        names[name].versions[version] = engine
    return names


def _point(db: sqlite3.Connection, name: str, engine: int, least: int) -> None:
    """Make the engine the current version of the name; a new one has a number of `least` or more."""
    db.execute("INSERT OR IGNORE INTO name (name, current, newest) VALUES (?, 0, 0)", (name,))
    found = db.execute("SELECT version FROM version WHERE name = ? AND engine = ?", (name, engine)).fetchone()
    if found is not None:
        db.execute("UPDATE name SET current = ? WHERE name = ?", (found[0], name))
        return
    db.execute("UPDATE name SET newest = max(newest + 1, ?) WHERE name = ?", (least, name))
    db.execute("UPDATE name SET current = newest WHERE name = ?", (name,))
    db.execute(
        "INSERT INTO version (name, version, engine) SELECT name, current, ? FROM name WHERE name = ?",
        (engine, name),
    )


def _point_exactly(db: sqlite3.Connection, name: str, engine: int, version: int) -> None:
    """Make the engine this version of the name, and the greatest version current."""
    db.execute("INSERT OR IGNORE INTO name (name, current, newest) VALUES (?, 0, 0)", (name,))
    db.execute("DELETE FROM version WHERE name = ? AND (version = ? OR engine = ?)", (name, version, engine))
    db.execute("INSERT INTO version (name, version, engine) VALUES (?, ?, ?)", (name, version, engine))
    db.execute(
        "UPDATE name SET newest = max(newest, ?1), "
        "current = (SELECT max(version) FROM version WHERE version.name = ?2) WHERE name = ?2",
        (version, name),
    )


def _fall_back(db: sqlite3.Connection, name: str) -> None:
    """After the removal of a version: the newest becomes current if needed; without versions, no name."""
    db.execute(
        "DELETE FROM name WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM version WHERE name = ?1)", (name,)
    )
    db.execute(
        "UPDATE name SET current = (SELECT max(version) FROM version WHERE version.name = name.name) "
        "WHERE name = ?1 AND current NOT IN (SELECT version FROM version WHERE name = ?1)",
        (name,),
    )
