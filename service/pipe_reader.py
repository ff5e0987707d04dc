"""The reading end of a pipe, on the event loop.

In place of connect_read_pipe(): uvloop's transport closes its descriptor twice, and what another thread has
opened in between then loses its own.
"""

import asyncio
import os


class PipeReader:
    """Owns the descriptor until close(). Belongs to the event loop, and to one reading task at a time."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd: int | None = fd

    async def read(self, most: int) -> bytes:
        """The next bytes, `most` at most, as soon as there are any; none once the other end is closed.

        Lets the loop turn each time, however fast the bytes come.
        """
        assert self._fd is not None, "read after close()"
        while True:
            await _readable(self._fd)
            try:
                return os.read(self._fd, most)
            except BlockingIOError:  # the loop woke for nothing
                continue

    def close(self) -> None:
        """Take no more; whoever writes is told. Not while a task reads."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)


async def _readable(fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def settle() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(fd, settle)
    try:
        await ready
    finally:
        loop.remove_reader(fd)
