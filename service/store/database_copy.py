"""The copy of the metadata: all rows after the last acknowledged change, in one checksummed file.

The first line is the SHA-256 of the rest, a JSON object, so any damage shows.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import orjson

from trtserve.store.rows import Rows
from trtserve.store.schema import FIRST_SEALED, SCHEMA_VERSION, up_to_date


@dataclass(frozen=True)
class Copy:
    store: str  # the ID of the store that has these rows
    generation: int  # how many changes the store has seen
    rows: Rows


class DamagedCopy(Exception):
    """The file exists but is not what was written; str() completes "The copy of the metadata …"."""


class CopyFile:
    """A file that is replaced whole, in two steps around a commit. Not thread safe; nor is its owner."""

    def __init__(self, path: Path, schema: int = SCHEMA_VERSION) -> None:
        self.path = path
        self._new = path.with_name(f"{path.name}.new")
        self._schema = schema

    def size(self) -> int:
        """The file's size in bytes; 0 if there is no file."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def read(self) -> Copy | None:
        """What was written last; None if there is no file. Raises DamagedCopy."""
        if self.path.exists() and not self.path.is_file():
            raise DamagedCopy("is not a file")
        try:
            checksum, _, body = self.path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as failure:
            raise DamagedCopy(f"cannot be read: {failure.strerror}") from failure
        if checksum.decode("latin-1") != hashlib.sha256(body).hexdigest():
            raise DamagedCopy("is damaged: its checksum does not match")
        told = orjson.loads(body)
        schema = told["schema"]
        if not FIRST_SEALED <= schema <= self._schema:
            raise DamagedCopy(f"belongs to another version of trtserve (schema {schema})")
        rows = Rows(told["engines"], told["names"], told["versions"])
        if schema < self._schema:
            rows = up_to_date(rows, schema)
        return Copy(told["store"], told["generation"], rows)

    def prepare(self, copy: Copy) -> None:
        """Write `copy` to disk beside the present one. If it raises OSError, nothing has changed."""
        told = {"schema": self._schema, "store": copy.store, "generation": copy.generation}
        body = orjson.dumps(
            {**told, "engines": copy.rows.engines, "names": copy.rows.names, "versions": copy.rows.versions}
        )
        try:
            with self._new.open("wb") as file:
                file.write(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            self.drop()
            raise

    def put(self) -> None:
        """Replace the present copy with the prepared one."""
        self._new.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def drop(self) -> None:
        """Delete the prepared copy."""
        self._new.unlink(missing_ok=True)
