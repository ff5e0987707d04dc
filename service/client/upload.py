"""A file on its way to the server, in pieces."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

CHUNK_BYTES = 1024**2

Progress = Callable[[int, int], None]
"""Hears how many bytes are sent, of how many; from 0 again if an upload is sent again."""


class Upload:
    """A file to be sent, as often as need be, without being in memory as a whole."""

    def __init__(self, path: str | os.PathLike[str], progress: Progress | None) -> None:
        """Raises OSError if there is no such file."""
        self.path = Path(path)
        self.size = self.path.stat().st_size
        self._progress = progress

    def chunks(self) -> Iterator[bytes]:
        sent = 0
        with self.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
                sent = self._tell(sent + len(chunk))

    async def chunks_async(self) -> AsyncIterator[bytes]:
        """The chunks of the file, which is read in a thread."""
        sent = 0
        with await asyncio.to_thread(self.path.open, "rb") as file:
            while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                yield chunk
                sent = self._tell(sent + len(chunk))

    def _tell(self, sent: int) -> int:
        if self._progress is not None:
            self._progress(sent, self.size)
        return sent
