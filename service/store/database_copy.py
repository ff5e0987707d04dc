"""The copy of the metadata: all rows after the last acknowledged change, in one checked file.

The first line is the SHA-256 of what follows, a JSON object; so the file is whole, or it is damaged.
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
    store: str  # which store's rows these are
    generation: int  # changes that the store has seen
    rows: Rows


class DamagedCopy(Exception):
    """The file is there and not what was written; str() completes "The copy of the metadata …"."""


class CopyFile:
    """Replaced as a whole, in two steps around a commit. Not thread safe, as its owner is not."""

    def __init__(self, path: Path, schema: int = SCHEMA_VERSION) -> None:
        self.path = path
        self._new = path.with_name(f"{path.name}.new")
        self._schema = schema

    def size(self) -> int:
        """In bytes; 0 where there is none."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def read(self) -> Copy | None:
        """What was written last; None where there is no file. Raises DamagedCopy."""
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
            raise DamagedCopy(f"is that of another version of trtserve (schema {schema})")
        rows = Rows(told["engines"], told["names"], told["versions"])
        if schema < self._schema:
            rows = up_to_date(rows, schema)
        return Copy(told["store"], told["generation"], rows)

    def prepare(self, copy: Copy) -> None:
        """Bring it to the disk beside the present one. Raises OSError, and nothing has changed then."""
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
        """Have what was prepared in the place of the present one."""
        self._new.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def drop(self) -> None:
        """Do without what was prepared."""
        self._new.unlink(missing_ok=True)
