"""The tables of the metadata's database, how earlier versions of them become these, and all their rows."""

import sqlite3
import uuid
from dataclasses import fields

from trtserve.store.rows import Rows, StoredEngine

SCHEMA_VERSION = 5  # SQLite's user_version; raise it with every change of SCHEMA, and add to MIGRATIONS

STORE = """
CREATE TABLE store (  -- one row
    id         TEXT NOT NULL,     -- random; its copy has it too
    generation INTEGER NOT NULL,  -- changes so far
    checksum   TEXT NOT NULL      -- of this ID, this generation, and the rows of all other tables
) STRICT;
"""

SCHEMA = f"""
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
    max_queue_delay_us    ANY NOT NULL,  -- an integer, 'auto' or 'never'
    latency_target_us     INTEGER NOT NULL,
    preferred_batch_sizes TEXT NOT NULL,
    batch_dims            TEXT NOT NULL,
    loaded                INTEGER NOT NULL DEFAULT 1,  -- 0: a start leaves it as it is, on disk only
    damage                TEXT NOT NULL DEFAULT '',    -- why its options are not known; empty: they are
    plan_bytes            INTEGER NOT NULL,
    created               TEXT NOT NULL
) STRICT;

CREATE TABLE name (
    name    TEXT PRIMARY KEY,
    current INTEGER NOT NULL,
    newest  INTEGER NOT NULL  -- given so far, also where it has been removed: a name gives no number twice
) STRICT, WITHOUT ROWID;

CREATE TABLE version (
    name    TEXT NOT NULL REFERENCES name,
    version INTEGER NOT NULL,
    engine  INTEGER NOT NULL REFERENCES engine,
    PRIMARY KEY (name, version),
    UNIQUE (name, engine)
) STRICT, WITHOUT ROWID;
{STORE}"""

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
    4: f"ALTER TABLE engine ADD COLUMN damage TEXT NOT NULL DEFAULT ''; {STORE}",
}
"""From each earlier version of the schema to the next; the order of a table's columns does not matter."""

ENGINE = [field.name for field in fields(StoredEngine)]
NAME = ["name", "current", "newest"]
VERSION = ["name", "version", "engine"]
TABLES = {
    "engine": {*ENGINE, "loaded"},
    "name": set(NAME),
    "version": set(VERSION),
    "store": {"id", "generation", "checksum"},
}


def bring_up_to_date(db: sqlite3.Connection, found: int) -> None:
    """Make the tables, or those of an earlier version these, in one transaction."""
    steps = [SCHEMA] if found == 0 else [MIGRATIONS[version] for version in range(found, SCHEMA_VERSION)]
    change = " ".join([*steps, f"PRAGMA user_version = {SCHEMA_VERSION};"])
    db.executescript(f"BEGIN; {change} COMMIT;")


def read_rows(db: sqlite3.Connection) -> Rows:
    """All rows, in the order of their keys."""
    columns = [*ENGINE, "loaded"]
    engines = db.execute(f"SELECT {', '.join(columns)} FROM engine ORDER BY id")
    return Rows(
        [dict(zip(columns, row, strict=True)) for row in engines],
        [list(row) for row in db.execute(f"SELECT {', '.join(NAME)} FROM name")],
        [list(row) for row in db.execute(f"SELECT {', '.join(VERSION)} FROM version")],
    )


def write_rows(db: sqlite3.Connection, rows: Rows) -> None:
    """Fill empty tables; the caller has begun a transaction."""
    for row in rows.engines:
        marks = ", ".join(f":{column}" for column in row)
        db.execute(f"INSERT INTO engine ({', '.join(row)}) VALUES ({marks})", row)
    db.executemany("INSERT INTO name VALUES (?, ?, ?)", rows.names)
    db.executemany("INSERT INTO version VALUES (?, ?, ?)", rows.versions)


def seal(db: sqlite3.Connection, rows: Rows, store: str, generation: int) -> None:
    """Say in the database, of which store and generation these rows are."""
    db.execute("DELETE FROM store")
    db.execute("INSERT INTO store VALUES (?, ?, ?)", (store, generation, rows.checksum(store, generation)))


def new_store() -> str:
    """The ID of a new store."""
    return uuid.uuid4().hex
