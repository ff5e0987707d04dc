"""Modules that carry their engine, as files: the runtime writes one into a pipe, and its client takes it out.

A plan may have gigabytes, so such a file is never whole in memory or on the disk. Each has a thread, which
waits when its client is slow.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from runtime_ext import Runtime
from trtserve.engines.engine import Engine
from trtserve.errors import Unavailable, Unsupported
from trtserve.pipe_reader import PipeReader
from trtserve.shortage import RETRY_AFTER_S, check_memory

AT_ONCE = 16
PIECE_BYTES = 256 * 1024


class ModuleFiles:
    """Belongs to the event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._threads = ThreadPoolExecutor(AT_ONCE, "trtserve-module")
        self.writing = 0  # files whose threads have not ended

    async def open(self, engine: Engine, plan: Path) -> "ModuleFile":
        """Begin the file of a loaded engine, and return once its first bytes are there; close() it then.

        `plan` is the file that the engine was loaded from. Raises Unsupported for a module, Unavailable while
        too many files are on their way, and what the runtime raises.
        """
        if engine.is_module:
            raise Unsupported(
                f"Engine {engine} is a module: it has no plan that another module could carry. Keep the "
                "archive that you uploaded; with plan=false you get a module that calls this one by its ID."
            )
        if self.writing >= AT_ONCE:
            raise Unavailable(
                f"{AT_ONCE} modules with their plans are being sent, which is this server's limit: try again "
                "when one has arrived, or ask for plan=false.",
                retry_after=RETRY_AFTER_S,
            )
        check_memory()
        loop = asyncio.get_running_loop()
        read, write = os.pipe()

        def fill() -> None:
            try:
                self._runtime.write_module(engine.id, str(plan), write)
            finally:
                os.close(write)

        self.writing += 1
        written = loop.run_in_executor(self._threads, fill)
        written.add_done_callback(self._ended)
        file = ModuleFile(written, PipeReader(read))
        try:
            await file.begin()
        except BaseException:
            file.close()
            raise
        return file

    def _ended(self, written: asyncio.Future[None]) -> None:
        self.writing -= 1
        if not written.cancelled():
            written.exception()  # whoever takes the file raises it; if it is closed, its client has left


class ModuleFile:
    """One file on its way to one client. Belongs to the event loop."""

    def __init__(self, written: asyncio.Future[None], pipe: PipeReader) -> None:
        self._written = written
        self._pipe = pipe
        self._first = b""

    async def begin(self) -> None:
        """Wait for the first bytes, or raise why there are none."""
        self._first = await self._piece()

    async def _piece(self) -> bytes:
        """The next bytes; none at the end. Raises what ended the file early."""
        piece = await self._pipe.read(PIECE_BYTES)
        if not piece:
            await self._written
        return piece

    async def pieces(self) -> AsyncIterator[bytes]:
        piece = self._first
        while piece:
            yield piece
            piece = await self._piece()

    def close(self) -> None:
        """Take no more of the file; its thread ends when it notices."""
        self._pipe.close()
