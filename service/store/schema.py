"""The tables of the store's database, the migrations from earlier versions, and all rows."""

import sqlite3
import uuid
from dataclasses import fields

from trtserve.store.rows import Rows, StoredEngine

SCHEMA_VERSION = 9  # SQLite's user_version; raise it with every change of SCHEMA, and add to MIGRATIONS
FIRST_SEALED = 5  # the first version that has the table `store`, and a copy beside it

STORE = """
CREATE TABLE store (  -- one row
    id         TEXT NOT NULL,     -- random; its copy has it too
    generation INTEGER NOT NULL,  -- changes so far
    checksum   TEXT NOT NULL      -- of this ID, this generation, and the rows of all other tables
) STRICT;
"""

SCHEMA = f"""
CREATE TABLE engine (
    id         INTEGER PRIMARY KEY,
    digest     TEXT NOT NULL UNIQUE,
    format     TEXT NOT NULL,
    backend    TEXT NOT NULL,
    options    TEXT NOT NULL,  -- a JSON object; what is not in it has its default
    loaded     INTEGER NOT NULL DEFAULT 1,  -- 0: a start leaves it as it is, on disk only
    damage     TEXT NOT NULL DEFAULT '',    -- why its options are not known; empty: they are
    build      TEXT NOT NULL DEFAULT '',    -- a JSON object: what it is built from; empty: it was uploaded
    batching   TEXT NOT NULL DEFAULT '',    -- a JSON object: its check for batches; empty: none
    measured   TEXT NOT NULL DEFAULT '',    -- a JSON object: what it took when it was loaded; empty: not kept
    uses       TEXT NOT NULL DEFAULT '',    -- a JSON object: the engines that a module calls; empty: none
    plan_bytes INTEGER NOT NULL,
    created    TEXT NOT NULL
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
    # What those engines were loaded with: no request was ever joined with another.
    2: """
    ALTER TABLE engine ADD COLUMN max_batch_size INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE engine ADD COLUMN max_queue_delay_us ANY NOT NULL DEFAULT 0;
    ALTER TABLE engine ADD COLUMN latency_target_us INTEGER NOT NULL DEFAULT 10000;
    ALTER TABLE engine ADD COLUMN preferred_batch_sizes TEXT NOT NULL DEFAULT '';
    ALTER TABLE engine ADD COLUMN batch_dims TEXT NOT NULL DEFAULT '';
    """,
    3: "ALTER TABLE engine ADD COLUMN loaded INTEGER NOT NULL DEFAULT 1;",
    4: f"ALTER TABLE engine ADD COLUMN damage TEXT NOT NULL DEFAULT ''; {STORE}",
    5: """
    ALTER TABLE engine ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
    UPDATE engine SET options = json_object(
        'instances', instances, 'max_queue_size', max_queue_size, 'device', device, 'precision', precision,
        'cuda_graphs', cuda_graphs, 'max_batch_size', max_batch_size,
        'max_queue_delay_us', max_queue_delay_us, 'latency_target_us', latency_target_us,
        'preferred_batch_sizes', preferred_batch_sizes, 'batch_dims', batch_dims);
    ALTER TABLE engine DROP COLUMN instances;
    ALTER TABLE engine DROP COLUMN max_queue_size;
    ALTER TABLE engine DROP COLUMN device;
    ALTER TABLE engine DROP COLUMN precision;
    ALTER TABLE engine DROP COLUMN cuda_graphs;
    ALTER TABLE engine DROP COLUMN max_batch_size;
    ALTER TABLE engine DROP COLUMN max_queue_delay_us;
    ALTER TABLE engine DROP COLUMN latency_target_us;
    ALTER TABLE engine DROP COLUMN preferred_batch_sizes;
    ALTER TABLE engine DROP COLUMN batch_dims;
    """,
    # Every plan of those versions was uploaded.
    6: "ALTER TABLE engine ADD COLUMN build TEXT NOT NULL DEFAULT '';",
    # Their max_batch_size, which was 1 where nobody asked for another, stays.
    7: "ALTER TABLE engine ADD COLUMN batching TEXT NOT NULL DEFAULT '';",
    8: """
    ALTER TABLE engine ADD COLUMN measured TEXT NOT NULL DEFAULT '';
    ALTER TABLE engine ADD COLUMN uses TEXT NOT NULL DEFAULT '';
    """,
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
    """Create the tables, or migrate those of an earlier version, in one transaction."""
    begin_change(db, found)
    db.execute("COMMIT")


def begin_change(db: sqlite3.Connection, found: int) -> None:
    """Begin a transaction that creates the tables, or migrates those of an earlier version.

    0 is the version of a database without tables.
    """
    steps = [SCHEMA] if found == 0 else [MIGRATIONS[version] for version in range(found, SCHEMA_VERSION)]
    db.executescript(" ".join(["BEGIN IMMEDIATE;", *steps, f"PRAGMA user_version = {SCHEMA_VERSION};"]))


def up_to_date(rows: Rows, found: int) -> Rows:
    """Convert rows of an earlier version to this one. Raises sqlite3.Error if they do not belong to it."""
    if not rows.engines:
        return rows
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        db.execute(f"CREATE TABLE engine ({', '.join(rows.engines[0])})")
        db.execute("CREATE TABLE name (name, current, newest)")
        db.execute("CREATE TABLE version (name, version, engine)")
        write_rows(db, rows)
        begin_change(db, found)
        return read_rows(db)
    finally:
        db.close()


def read_rows(db: sqlite3.Connection) -> Rows:
    """All rows, ordered by key, from tables of any version."""
    engines = db.execute("SELECT * FROM engine ORDER BY id")
    columns = [column for column, *_ in engines.description]
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
    """Record in the database which store and generation these rows belong to."""
    db.execute("DELETE FROM store")
    db.execute("INSERT INTO store VALUES (?, ?, ?)", (store, generation, rows.checksum(store, generation)))


def new_store() -> str:
    """The ID of a new store."""
    return uuid.uuid4().hex
