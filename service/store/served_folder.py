"""What a store has taken from a folder of models: a file beside the database.

It says which versions of which names are the folder's, so that they go when the folder has them no longer,
and which files they were, so that a start does not read those again. It is written before the first version
of a name is added, and after each change. What it is behind by after a kill, the next look finds out.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from trtserve.errors import Unavailable
from trtserve.store.folder import SERVED_NAME, sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable


class ServedVersion(BaseModel):
    engine: int  # its ID
    stamp: str  # of its file


class ServedModel(BaseModel):
    config: str = ""  # the stamp of its config and what is beside it; empty: it had none
    versions: dict[int, ServedVersion] = {}


class ServedFolder(BaseModel):
    """What was taken from a folder. Belongs to the event loop."""

    models: dict[str, ServedModel] = {}


class ServedFile:
    """The file. Blocks; used by one thread at a time."""

    def __init__(self, store: Path) -> None:
        self._path = store / SERVED_NAME
        self.refusal: Callable[[], Unavailable] | None = None  # while the store rests: a successor writes it

    def read(self) -> ServedFolder:
        """What was written last; nothing, if it never was. Raises Unavailable if it cannot be read."""
        try:
            return ServedFolder.model_validate_json(self._path.read_bytes())
        except FileNotFoundError:
            return ServedFolder()
        except (OSError, ValidationError) as failure:
            told = failure.strerror if isinstance(failure, OSError) else "it is damaged"
            raise Unavailable(
                f"{self._path}, which says which models are from the folder, cannot be read: {told}. Remove "
                "it, and the names of the folder's models; then they are taken anew."
            ) from failure

    def write(self, text: str) -> None:
        """Raises Unavailable if it cannot be written, or is not to be."""
        if self.refusal is not None:
            raise self.refusal()
        part = self._path.with_suffix(".part")
        try:
            with part.open("w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as failure:
            raise Unavailable(f"{self._path} cannot be written: {failure.strerror}.") from failure
