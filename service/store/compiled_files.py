"""Compiled models: what a backend made of a plan at a load, so that the next load need not.

    <store>/compiled/<digest>.compiled   the SHA-256 of the rest, then the backend's bytes; the digest is the
                                         engine's

They are a cache: one for each stored engine at most, deleted with its plan, and made again whenever one is
missing, damaged or of no more use to the backend. So nothing here is synced to disk: the checksum finds a
file that a power cut tore. The backend says in its bytes which library, CPU and options they are for.
"""

import hashlib
import logging
import os
import re
import uuid
from collections.abc import Callable, Set
from contextlib import suppress
from pathlib import Path

from trtserve.store.folder import Layout, named
from trtserve.store.plan_file import is_plain
from trtserve.store.reserve import LEAST_BYTES, free_bytes

logger = logging.getLogger(__name__)

COMPILED_NAME = re.compile(r"[0-9a-f]{64}\.compiled")
ROOM = 4  # of the plan's size: less room on the disk is left to plans
DIGEST_BYTES = hashlib.sha256().digest_size


class CompiledFiles:
    """Blocks, and never fails. Thread safe, because only the load or the removal of an engine touches its
    file."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self.paused = False  # True: the files are another process's, and this one only reads them

    def find(self, digest: str) -> Path | None:
        """The compiled model of an engine, if there is one and it is undamaged."""
        path = self._path(digest)
        try:
            if not os.path.lexists(path):
                return None
            if is_plain(path):  # opening a FIFO would block
                with path.open("rb") as file:
                    written = file.read(DIGEST_BYTES)
                    if hashlib.file_digest(file, "sha256").digest() == written:
                        return path
            logger.warning("the compiled model %s is damaged, and is made again", path.name)
        except OSError as failure:
            logger.warning("the compiled model %s cannot be read: %s", path.name, failure.strerror)
        return None

    def keep(self, digest: str, plan_bytes: int, write: Callable[[str], bool]) -> None:
        """Keep what `write` writes to a path, after bytes for the checksum; it returns False if it writes
        nothing. The plan's size says how much room on the disk it takes to try."""
        if self.paused:
            return
        part = self._layout.incoming / f"{uuid.uuid4().hex}.part"
        try:
            if free_bytes(self._layout.root) < LEAST_BYTES + ROOM * plan_bytes or not write(str(part)):
                return
            with part.open("r+b") as file:
                file.seek(DIGEST_BYTES)
                digest_of_rest = hashlib.file_digest(file, "sha256").digest()
                file.seek(0)
                file.write(digest_of_rest)
            part.replace(self._path(digest))
        except Exception as failure:  # the engine is loaded, and does not need it
            logger.warning("the compiled model of engine %s is not kept: %s", digest, failure)
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def delete(self, digest: str) -> None:
        if self.paused:
            return
        path = self._path(digest)
        try:
            path.unlink(missing_ok=True)
        except OSError as failure:
            logger.warning("the compiled model %s cannot be deleted: %s", path.name, failure.strerror)

    def keep_only(self, digests: Set[str]) -> None:
        """Delete the compiled models of all other engines."""
        for path in named(self._layout.compiled, COMPILED_NAME):
            if path.stem not in digests:
                self.delete(path.stem)

    def _path(self, digest: str) -> Path:
        return self._layout.compiled / f"{digest}.compiled"
