"""What a store has taken from a folder of models: a file beside the database.

It says which versions of which names are the folder's, so that they go when the folder has them no longer,
and which files they were, so that a start does not read those again. It is written before the first version
of a name is added, and after each change. What it is behind by after a kill, the next look finds out.

Each line is a JSON document that says of some models what was taken from them, null for nothing any more;
what a later line says of a model counts. So a change of one model among many writes one short line. All
models are written as one line again when there are as many bytes behind it as in it.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from trtserve.errors import Unavailable
from trtserve.store.folder import SERVED_NAME, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable

FEW_BYTES = 65_536  # of changes, which are not worth writing all models for


class ServedVersion(BaseModel):
    engine: int  # its ID
    stamp: str  # of its file


class ServedModel(BaseModel):
    config: str = ""  # the stamp of its config and what is beside it; empty: it had none
    versions: dict[int, ServedVersion] = {}


class ServedFolder(BaseModel):
    """What was taken from a folder. Belongs to the event loop."""

    models: dict[str, ServedModel] = {}


class _Line(BaseModel):
    models: dict[str, ServedModel | None]


class ServedFile:
    """The file. Blocks; used by one thread at a time."""

    def __init__(self, store: Path) -> None:
        self._path = store / SERVED_NAME
        self._refusal: Callable[[], Unavailable] | None = None
        self._models: dict[str, str] = {}  # the JSON of each, as the file is to have it
        self._room = 0  # bytes that may be appended; 0 also where the file may be another than is thought

    def read(self) -> ServedFolder:
        """What was written last; nothing, if it never was. Raises Unavailable if it cannot be read."""
        folder = ServedFolder()
        try:
            *lines, torn = self._path.read_bytes().split(b"\n")
            # A kill may tear the last line; that of a file that has no other ends without a line's end.
            for line in lines or [torn]:
                for name, model in _Line.model_validate_json(line).models.items():
                    if model is not None:
                        folder.models[name] = model
                    else:
                        folder.models.pop(name, None)
        except FileNotFoundError:
            pass
        except (OSError, ValidationError) as failure:
            told = failure.strerror if isinstance(failure, OSError) else "it is damaged"
            raise Unavailable(
                f"{self._path}, which says which models are from the folder, cannot be read: {told}. Remove "
                "it, and the names of the folder's models; then they are taken anew."
            ) from failure
        self._models = {name: model.model_dump_json() for name, model in folder.models.items()}
        return folder

    def rest(self, refusal: "Callable[[], Unavailable]") -> None:
        """Write nothing any more: a successor does."""
        self._refusal = refusal

    def resume(self) -> None:
        self._refusal = None
        self._room = 0

    def write(self, name: str, model: str | None) -> None:
        """Keep what was taken from a model, as JSON; None: nothing any more.

        Raises Unavailable if it cannot be written, or is not to be.
        """
        if self._refusal is not None:
            raise self._refusal()
        if self._room and self._models.get(name) == model:
            return
        if model is not None:
            self._models[name] = model
        else:
            self._models.pop(name, None)
        line = _line({name: model or "null"})
        room, self._room = self._room, 0  # until it is written
        try:
            self._room = self._append(line, room) if len(line) <= room else self._write_all()
        except OSError as failure:
            raise Unavailable(f"{self._path} cannot be written: {failure.strerror}.") from failure

    def _append(self, line: bytes, room: int) -> int:
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        return room - len(line)

    def _write_all(self) -> int:
        line = _line(self._models)
        part = self._path.with_suffix(".part")
        with part.open("wb") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)
        sync_folder(self._path.parent)
        return max(len(line), FEW_BYTES)


def _line(models: dict[str, str]) -> bytes:
    listed = ",".join(f"{json.dumps(name)}:{model}" for name, model in models.items())
    return f'{{"models":{{{listed}}}}}\n'.encode()
