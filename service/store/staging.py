"""A plan on its way to disk: written and hashed as it arrives, never whole in memory."""

import hashlib
import os
import threading
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trtserve.errors import Unavailable
from trtserve.store.reserve import disk_full, is_full

ID_HEX_DIGITS = 13  # 52 bits: exact in JSON and in JavaScript's numbers


def engine_id(digest: str) -> int:
    """The engine ID of a plan: the first 52 bits of its SHA-256, which `digest` gives in hex."""
    return int(digest[:ID_HEX_DIGITS], 16)


@dataclass(frozen=True)
class StagedPlan:
    """A whole plan in the store's incoming folder, synced to disk but not yet in its place."""

    path: Path
    digest: str  # SHA-256, hex
    size: int  # bytes

    def discard(self) -> None:
        """Remove the file, unless it has been moved to its place."""
        self.path.unlink(missing_ok=True)


class PlanWriter:
    """One upload. Blocks, so worker threads call it; calls from several threads take turns."""

    def __init__(self, incoming: Path) -> None:
        self._path = incoming / f"{uuid.uuid4().hex}.part"
        self._lock = threading.Lock()
        self._hash = hashlib.sha256()
        self._size = 0
        self._file = self._path.open("xb")

    def write(self, chunks: Iterable[bytes]) -> None:
        with self._lock:
            if self._file.closed:  # discarded while this call waited in its thread
                return
            try:
                for chunk in chunks:
                    self._file.write(chunk)
                    self._hash.update(chunk)
                    self._size += len(chunk)
            except OSError as failure:
                raise self._unwritable(failure) from failure

    def finish(self) -> StagedPlan:
        """Sync everything written to disk, and close the file."""
        with self._lock:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
                self._file.close()
            except OSError as failure:
                raise self._unwritable(failure) from failure
        return StagedPlan(self._path, self._hash.hexdigest(), self._size)

    def discard(self) -> None:
        """Give up: nothing stays behind, even if a write is still in progress."""
        with self._lock:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # a full disk cannot take the last bytes, and they are no longer needed
                self._file.close()

    def _unwritable(self, failure: OSError) -> Unavailable:
        folder = self._path.parent
        if is_full(failure, folder):
            come = f"{self._size / 1e6:.1f} MB of it had arrived"
            return disk_full(folder, f"The plan cannot be written to this server's store ({come})")
        return Unavailable(
            f"The plan cannot be written to this server's store: {failure.strerror or failure}."
        )
