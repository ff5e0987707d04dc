"""The folder whose plans all replicas serve: each file is a plan, named by the SHA-256 of its bytes.

So a plan never changes, two that are alike are one file, and a reader can tell whether it got what it asked
for.
"""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

import fsspec

from trtserve.errors import InvalidInput, NotFound, Unavailable
from trtserve.workers import Workers

BLOCK_BYTES = 4 * 1024**2
RETRY_AFTER_S = 5.0

READERS = Workers("shared-plans", 4)


class SharedPlans:
    """A folder of a file system or an object store, by its URL as fsspec has it. Stateless."""

    def __init__(self, url: str) -> None:
        """Raises InvalidInput for a URL that fsspec cannot use, and says what to install."""
        self.url = url
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as failure:
            raise InvalidInput(
                f"The plans' folder {url!r} cannot be used: {failure}. Give a path that every machine has, "
                "or a URL such as s3://bucket/plans, and install what fsspec needs for it (s3fs, gcsfs, …)."
            ) from failure

    async def size(self, digest: str) -> int:
        """A plan's bytes. Raises NotFound and Unavailable."""
        return await READERS.run(self._size, digest)

    async def blocks(self, digest: str) -> AsyncIterator[bytes]:
        """A plan's bytes. Raises NotFound and Unavailable."""
        file = await READERS.run(self._open, digest)
        try:
            while block := await READERS.run(self._read, file, digest):
                yield block
        finally:
            await READERS.run(file.close)

    def publish(self, plan: Path) -> str:
        """Put a plan into the folder; return its SHA-256. Blocks.

        A reader sees the whole file or none. Raises OSError.
        """
        with plan.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            size = source.tell()
            path = self._path(digest)
            if self._files.exists(path) and self._files.size(path) == size:
                return digest
            source.seek(0)
            self._files.makedirs(self._root, exist_ok=True)
            with self._files.transaction, self._files.open(path, "wb") as target:
                while block := source.read(BLOCK_BYTES):
                    target.write(block)
        return digest

    def _path(self, digest: str) -> str:
        return f"{self._root.rstrip('/')}/{digest}"

    def _size(self, digest: str) -> int:
        try:
            return int(self._files.size(self._path(digest)))
        except Exception as failure:
            raise self._unread(digest, failure) from failure

    def _open(self, digest: str) -> BinaryIO:
        try:
            # Each block is read once, so nothing is read ahead or kept.
            file: BinaryIO = self._files.open(self._path(digest), "rb", cache_type="none")
        except Exception as failure:
            raise self._unread(digest, failure) from failure
        return file

    def _read(self, file: BinaryIO, digest: str) -> bytes:
        try:
            return file.read(BLOCK_BYTES)
        except Exception as failure:
            raise self._unread(digest, failure) from failure

    def _unread(self, digest: str, failure: Exception) -> NotFound | Unavailable:
        """Object stores have exceptions of their own, so whatever comes is told."""
        if isinstance(failure, FileNotFoundError):
            return NotFound(
                f"There is no plan {digest} in {self.url}. Put it there: python -m trtserve.ray publish PLAN "
                f"{self.url}."
            )
        told = os.strerror(failure.errno) if isinstance(failure, OSError) and failure.errno else failure
        return Unavailable(
            f"The plan {digest} cannot be read from {self.url}: {type(failure).__name__}: {told}.",
            retry_after=RETRY_AFTER_S,
        )
