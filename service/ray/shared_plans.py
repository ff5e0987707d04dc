"""The folder whose plans all replicas serve: each file is a plan, named by the SHA-256 of its bytes.

So a plan never changes, two that are alike are one file, and a reader can tell whether it got what it asked
for.
"""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from fsspec.core import url_to_fs

from trtserve.errors import InvalidInput, Unavailable
from trtserve.folder.files import BLOCK_BYTES, blocks_of, open_files
from trtserve.text import cut
from trtserve.workers import FOLDER


class SharedPlans:
    """A folder that every machine has, or one of an object store, by its URL. Belongs to an event loop."""

    def __init__(self, url: str) -> None:
        """Raises InvalidInput for a folder that is not there, and for a URL that nothing here reads."""
        self._files = open_files(url, "plans, among the application's arguments,")

    @property
    def url(self) -> str:
        """Without a password."""
        return self._files.root

    async def size(self, digest: str) -> int | None:
        """A plan's bytes, if the folder tells. Raises Unavailable, which says what to do."""
        try:
            return (await FOLDER.run(self._files.entry, [digest])).size
        except Unavailable as failure:
            advice = f"To put a plan there: python -m trtserve.ray publish PLAN {self.url}."
            raise Unavailable(f"{failure} {advice}", retry_after=failure.retry_after) from failure

    def blocks(self, digest: str) -> AsyncIterator[bytes]:
        """A plan, in order. Raises Unavailable."""
        return blocks_of(self._files, [digest])


def publish(plan: Path, url: str) -> str:
    """Put a plan into the folder, made if missing; return its SHA-256.

    A reader sees the whole file or none. Raises InvalidInput for a URL that cannot be used, and what its file
    system raises.
    """
    try:
        files, root = url_to_fs(url)
    except (ImportError, ValueError) as failure:
        raise InvalidInput(
            f"The folder {url} cannot be used: {cut(str(failure))}. Give a path, or a URL such as "
            "s3://bucket/plans; pip install 'trtserve[remote]' has what S3, Google's storage and HTTPS need."
        ) from failure
    with plan.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
        size = source.tell()
        path = f"{root.rstrip('/')}/{digest}"
        if files.exists(path) and files.size(path) == size:
            return digest
        source.seek(0)
        files.makedirs(root, exist_ok=True)
        with files.transaction, files.open(path, "wb") as target:
            while block := source.read(BLOCK_BYTES):
                target.write(block)
    return digest
