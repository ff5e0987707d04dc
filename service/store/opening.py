"""Decides at a start whether the rows of the metadata's database or those of its copy hold.

Every change is committed to the database, then written to the copy, then answered. So after any kill, an
undamaged database is as new as its copy or one change ahead of it, and the copy has every answered change.
Anything else is damage, or a file that was put back from a backup. Both may
be of an earlier schema; they are compared after conversion to this one:

  database                       copy whole                        copy missing or damaged
  as new, or one ahead           the database                      the database
  more than one ahead            the database                      -
  older: its log was lost        the copy                          unknown: the database
  rows of another writer         the copy                          the database, mended (mending.py)
  of another store               the database                      the database
  of a schema before 5           the copy: it was put back         the database, mended
  cannot be read                 refused: a person must look     refused
"""

import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from trtserve.errors import Unavailable
from trtserve.store.database_copy import Copy, CopyFile, DamagedCopy
from trtserve.store.mending import FormatOf, Mending
from trtserve.store.rows import Rows
from trtserve.store.schema import FIRST_SEALED, SCHEMA_VERSION, TABLES, read_rows, up_to_date

SURROGATE = re.compile("[\ud800-\udfff]")  # for a byte that is not UTF-8
LONGEST_COMPLAINT = 120  # characters: SQLite quotes whole tables


class Opening(Enum):
    """What to do with a database and a copy that disagree."""

    USUAL = "the newer of the two that are whole"
    DATABASE = "the database as it is: it was put back on purpose"
    REBUILD = "the copy, if the database cannot be read; without a copy, no engines"


class DamagedDatabase(Unavailable):
    """The file is missing, or cannot be read as a trtserve database."""


@dataclass(frozen=True)
class Beside:
    """What lies beside the database: each plan's size in bytes by its digest, and how to find its format."""

    plans: Mapping[str, int] = field(default_factory=dict)
    format_of: FormatOf = lambda _: None


@dataclass(frozen=True)
class Found:
    """What a database contains."""

    store: str  # the store's ID; empty: the schema had none, or it is damaged
    generation: int
    whole: bool  # its rows are those that the server last wrote
    rows: Rows


@dataclass(frozen=True)
class Decision:
    """The rows that hold from now on, and how they were chosen."""

    store: str
    generation: int
    rows: Rows
    notes: list[str]
    sound: bool = False  # database and copy agree: a change that neither knows was never answered
    copied: bool = False  # the copy already says this
    copy_aside: bool = False  # the copy is damaged, or another store's: set it aside


def one_line(said: object) -> str:
    """What SQLite says about a damaged file, as one line without the raw bytes that it quotes."""
    if isinstance(said, UnicodeError):
        return "it is damaged"
    words = " ".join(str(said).split())
    line = "".join(letter if letter.isprintable() else "?" for letter in words)
    return line if len(line) <= LONGEST_COMPLAINT else f"{line[:LONGEST_COMPLAINT]} …"


def look(db: sqlite3.Connection, schema: int = SCHEMA_VERSION) -> tuple[Found, str | None]:
    """Everything in the database, and the first complaint of SQLite's own check.

    `schema` is the version of the tables, 0 for new ones; the rows are converted to this one.
    Raises sqlite3.Error if the database cannot be read, or is not ours.
    """
    db.text_factory = lambda text: text.decode("utf-8", "surrogateescape")  # reported, not raised
    try:
        found, complaint = _look(db, schema)
    finally:
        db.text_factory = str
    if schema < SCHEMA_VERSION:
        found = replace(found, rows=up_to_date(_plain(found.rows), schema))
        if any(row.keys() != TABLES["engine"] for row in found.rows.engines):
            raise _not_ours("engine")
    return found, complaint


def _look(db: sqlite3.Connection, schema: int) -> tuple[Found, str | None]:
    sealed = schema >= FIRST_SEALED
    for table, wanted in TABLES.items():
        if table == "store" and not sealed:
            continue
        columns = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        kind = db.execute("SELECT type FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        changed = table == "engine" and schema < SCHEMA_VERSION
        if kind != ("table",) or (wanted != columns and not changed):
            raise _not_ours(table)
    if db.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone() != (0,):
        raise sqlite3.DatabaseError("it has triggers, and trtserve makes none")
    (checked,) = db.execute("PRAGMA integrity_check(1)").fetchone()
    complaint = None if checked == "ok" else one_line(checked)
    rows = read_rows(db)
    if not sealed:
        return Found("", 0, True, rows), complaint
    told = db.execute("SELECT id, generation, checksum FROM store").fetchall()
    store, generation, checksum = told[0] if len(told) == 1 else (None, None, None)
    if not isinstance(store, str) or type(generation) is not int or not checksum:
        return Found("", 0, False, rows), complaint
    whole = rows.checksum(store, generation) == checksum
    return Found(store, generation, whole, rows), complaint


def _not_ours(table: str) -> sqlite3.DatabaseError:
    return sqlite3.DatabaseError(f"its table {table} is not as it has to be")


def _plain(rows: Rows) -> Rows:
    """The rows, with a value that is never right for each that a database cannot take: bytes, broken text."""

    def plain(value: Any) -> Any:
        broken = isinstance(value, str) and SURROGATE.search(value)
        return "\0" if broken or isinstance(value, bytes) else value

    return Rows(
        [{column: plain(value) for column, value in row.items()} for row in rows.engines],
        [list(map(plain, row)) for row in rows.names],
        [list(map(plain, row)) for row in rows.versions],
    )


def decide(
    found: Found, file: CopyFile, beside: Beside, opening: Opening, new_store: Callable[[], str]
) -> Decision:
    """Choose the rows that hold, and note what a person must know about the choice."""
    notes: list[str] = []
    aside = False
    try:
        copy = file.read() if opening is not Opening.DATABASE else None
        if copy is None and opening is Opening.USUAL and found.store and (found.generation or beside.plans):
            notes.append("The copy of the metadata is missing; it was rebuilt from the database.")
    except DamagedCopy as damage:
        copy, aside = None, True
        notes.append(f"The copy of the metadata {damage}; it was rebuilt from the database.")
    if opening is Opening.REBUILD and copy is not None:
        notes.append("The database was rebuilt from its copy.")
        return Decision(copy.store, copy.generation + 1, copy.rows, notes)
    if copy is not None and found.whole and found.store and found.store != copy.store:
        notes.append("The copy of the metadata belonged to another store; it was rebuilt from the database.")
        copy, aside = None, True
    if copy is None:
        return replace(_mended(found, notes, beside, new_store), copy_aside=aside)
    if found.whole and found.generation > copy.generation:
        if found.generation > copy.generation + 1:
            notes.append("The copy of the metadata was older than the database; it was rebuilt.")
        return Decision(
            found.store, found.generation, found.rows, notes, sound=found.generation == copy.generation + 1
        )
    if found.whole and found.generation == copy.generation and found.rows == copy.rows:
        return Decision(found.store, found.generation, found.rows, notes, sound=True, copied=True)
    notes += _differences(found, copy)
    generation = max(found.generation if found.whole else 0, copy.generation) + 1
    return Decision(copy.store, generation, copy.rows, notes)


def _mended(found: Found, notes: list[str], beside: Beside, new_store: Callable[[], str]) -> Decision:
    if not found.whole:
        notes.append("The database holds rows that the server did not write: they were damaged or edited.")
    if found.whole and found.store:
        rows = found.rows
    else:
        mending = Mending(found.rows, beside.plans, beside.format_of)
        rows, notes = mending.rows, [*notes, *mending.notes]
    changed = rows != found.rows or not found.whole
    generation = found.generation + 1 if changed else found.generation
    return Decision(found.store or new_store(), generation, rows, notes)


def _differences(found: Found, copy: Copy) -> list[str]:
    """Why the copy holds, and where the database differed from it."""
    if found.whole:
        why = (
            f"The database is older than what was acknowledged (change {found.generation} of "
            f"{copy.generation}): its write-ahead log was lost, or it was put back from a backup. It was "
            "brought up to date from its copy; to use an older one on purpose, put it back and run "
            "`trtserve store check --repair --use-database` before the start."
        )
    else:
        why = "The database holds rows that the server did not write: they were repaired from its copy."
    here = {row["id"]: row for row in found.rows.engines}
    lost = [row["id"] for row in copy.rows.engines if row["id"] not in here]
    other = [row["id"] for row in copy.rows.engines if row["id"] in here and here[row["id"]] != row]
    told = [
        f"{what} {', '.join(map(str, ids[:10]))}"
        for what, ids in (("lacked", lost), ("differed in", other))
        if ids
    ]
    return [f"{why} It {' and '.join(told)}." if told else why]
