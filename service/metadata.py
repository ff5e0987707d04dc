"""What the store knows of its plans besides their bytes: engines, names and versions, in SQLite.

Every method that changes something is one transaction, on the disk itself when it returns (WAL with
synchronous=FULL). It gives back all names as they are then, read before the commit: once that has
succeeded nothing can fail any more.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from service.errors import Unavailable
from service.options import Options

SCHEMA_VERSION = 4  # SQLite's user_version; raise it with every change of SCHEMA, and add to MIGRATIONS

SCHEMA = """
CREATE TABLE engine (
    id                    INTEGER PRIMARY KEY,
    digest                TEXT NOT NULL UNIQUE,
    format                TEXT NOT NULL,
    backend               TEXT NOT NULL,
    device                TEXT NOT NULL,
    instances             INTEGER NOT NULL,
    max_queue_size        INTEGER NOT NULL,
    precision             TEXT NOT NULL,
    cuda_graphs           TEXT NOT NULL,
    max_batch_size        INTEGER NOT NULL,
    max_queue_delay_us    ANY NOT NULL,  -- an integer, or 'auto'
    latency_target_us     INTEGER NOT NULL,
    preferred_batch_sizes TEXT NOT NULL,
    batch_dims            TEXT NOT NULL,
    plan_bytes            INTEGER NOT NULL,
    created               TEXT NOT NULL,
    loaded                INTEGER NOT NULL DEFAULT 1  -- 0: a start leaves it as it is, on disk only
) STRICT;

CREATE TABLE name (
    name    TEXT PRIMARY KEY,
    current INTEGER NOT NULL,
    newest  INTEGER NOT NULL  -- ever given, also where it has been removed: a number is not given twice
) STRICT, WITHOUT ROWID;

CREATE TABLE version (
    name    TEXT NOT NULL REFERENCES name,
    version INTEGER NOT NULL,
    engine  INTEGER NOT NULL REFERENCES engine,
    PRIMARY KEY (name, version),
    UNIQUE (name, engine)
) STRICT, WITHOUT ROWID;
"""


MIGRATIONS = {
    1: "ALTER TABLE engine ADD COLUMN cuda_graphs TEXT NOT NULL DEFAULT 'auto';",
    # What those engines were stood up with: no request was ever joined with another.
    2: """
    ALTER TABLE engine ADD COLUMN max_batch_size INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE engine ADD COLUMN max_queue_delay_us ANY NOT NULL DEFAULT 0;
    ALTER TABLE engine ADD COLUMN latency_target_us INTEGER NOT NULL DEFAULT 10000;
    ALTER TABLE engine ADD COLUMN preferred_batch_sizes TEXT NOT NULL DEFAULT '';
    ALTER TABLE engine ADD COLUMN batch_dims TEXT NOT NULL DEFAULT '';
    """,
    3: "ALTER TABLE engine ADD COLUMN loaded INTEGER NOT NULL DEFAULT 1;",
}
"""From each earlier version of the schema to the next; the order of a table's columns does not matter."""


@dataclass(frozen=True)
class StoredEngine:
    """What must be known to stand an engine up again; the options are those that were asked for."""

    id: int
    digest: str  # SHA-256 of the plan, hex
    format: str
    backend: str
    device: str
    instances: int
    max_queue_size: int
    precision: str
    cuda_graphs: str
    plan_bytes: int
    created: str  # ISO 8601, UTC
    max_batch_size: int
    max_queue_delay_us: int | str  # or "auto"
    latency_target_us: int
    preferred_batch_sizes: str  # canonical, see service/batching.py
    batch_dims: str  # canonical


@dataclass(frozen=True)
class StoredName:
    current: int  # a key of versions
    versions: dict[int, int]  # version -> engine ID


_COLUMNS = ", ".join(field.name for field in fields(StoredEngine))
_MARKS = ", ".join("?" for _ in fields(StoredEngine))
_OPTIONS = [field.name for field in fields(Options)]


class Metadata:
    """The database. Not thread safe: its owner calls it from one thread at a time."""

    def __init__(self, path: Path, *, plans_beside: int = 0) -> None:
        """Open the database, made if missing, but not where plans lie beside it: then it has been lost.

        Raises Unavailable for that, for the database of a newer version, and for what is none.
        """
        self._path = path
        with self._told():
            # isolation_level None: no transaction begins unless this file says BEGIN.
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            (found,) = self._db.execute("PRAGMA user_version").fetchone()
        if found == 0 and plans_beside:
            self._db.close()  # before anything is written: a database put back finds no journal of this one
            raise Unavailable(
                f"{path} is missing or empty beside {plans_beside} plans: nothing says which engines and "
                "names they are. Put the database back from a backup, or move the plans out of "
                f"{path.parent / 'plans'} to start with an empty store."
            )
        with self._told():
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            if found < SCHEMA_VERSION:
                steps = [SCHEMA] if found == 0 else [MIGRATIONS[v] for v in range(found, SCHEMA_VERSION)]
                change = " ".join([*steps, f"PRAGMA user_version = {SCHEMA_VERSION};"])
                self._db.executescript(f"BEGIN; {change} COMMIT;")
        if found > SCHEMA_VERSION:
            self._db.close()
            raise Unavailable(
                f"{path} was written by a newer trtserve (schema {found}; this one knows {SCHEMA_VERSION}). "
                "Start that version, or another store."
            )

    def close(self) -> None:
        self._db.close()

    def engines(self) -> list[StoredEngine]:
        with self._told():
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM engine ORDER BY created, id")
            return [StoredEngine(*row) for row in rows]

    def names(self) -> dict[str, StoredName]:
        with self._told():
            return _names(self._db)

    def unloaded(self) -> set[int]:
        """The IDs of the engines that are to be kept, but not loaded."""
        with self._told():
            return {id for (id,) in self._db.execute("SELECT id FROM engine WHERE NOT loaded")}

    def add(
        self, engine: StoredEngine, name: str | None, version: int | None = None
    ) -> dict[str, StoredName]:
        """Keep the engine as a loaded one; under a name, make it current there.

        If it is none of the name's versions, it becomes one, with the next number, or `version` where that
        is greater.
        """
        with self._transaction() as db:
            db.execute(f"INSERT OR IGNORE INTO engine ({_COLUMNS}) VALUES ({_MARKS})", astuple(engine))
            # The same engine stood up anew, after a failure or an unload: with the options of this time.
            options = ", ".join(f"{option} = ?" for option in _OPTIONS)
            db.execute(
                f"UPDATE engine SET {options}, loaded = 1 WHERE id = ?",
                (*(getattr(engine, option) for option in _OPTIONS), engine.id),
            )
            if name is not None:
                _point(db, name, engine.id, version or 0)
            return _names(db)

    def unload(self, id: int) -> None:
        """Keep the engine, its versions and their names, but not as a loaded one."""
        with self._transaction() as db:
            db.execute("UPDATE engine SET loaded = 0 WHERE id = ?", (id,))

    def point(self, name: str, version: int) -> dict[str, StoredName]:
        """Make a version that the name has its current one."""
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

    def remove_version(self, name: str, version: int) -> dict[str, StoredName]:
        """Forget this version of the name, and its engine where no other version points to it."""
        with self._transaction() as db:
            (engine,) = db.execute(
                "DELETE FROM version WHERE name = ? AND version = ? RETURNING engine", (name, version)
            ).fetchone()
            _fall_back(db, name)
            db.execute(
                "DELETE FROM engine WHERE id = ? AND id NOT IN (SELECT engine FROM version)", (engine,)
            )
            return _names(db)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._told():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as failure:
            raise Unavailable(f"The store's metadata in {self._path} cannot be used: {failure}.") from failure


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


def _fall_back(db: sqlite3.Connection, name: str) -> None:
    """After a version of the name has gone: its newest is current if the current one went; none: no name."""
    db.execute(
        "DELETE FROM name WHERE name = ?1 AND NOT EXISTS (SELECT 1 FROM version WHERE name = ?1)", (name,)
    )
    db.execute(
        "UPDATE name SET current = (SELECT max(version) FROM version WHERE version.name = name.name) "
        "WHERE name = ?1 AND current NOT IN (SELECT version FROM version WHERE name = ?1)",
        (name,),
    )
