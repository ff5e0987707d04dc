"""A warm restart: a new process takes over the sockets and the store, while this one goes on answering.

    this process                                     its successor
    serves, until SIGUSR2
    lets changes of engines end, and refuses more
    (503 with Retry-After); its store rests
    starts the successor with its own command,
    with its sockets and the store's lock
    goes on answering                                opens the store, loads the engines
                                                     listens on the same sockets, says so
    accepts no more connections                      serves, and takes changes
    ends each connection after its next answer
    ends with success, within the drain time

If the successor ends before it listens, cannot load an engine that this process serves, or needs longer than
restart_timeout_s, this process ends it, uses the store again, and goes on as before.

The sockets are the same, so connections that wait to be accepted are nobody's until one of the two takes
them: with a second socket on the port (SO_REUSEPORT) those of the first would be reset. The lock is the same
as well (flock belongs to the open file, which both have), so no third process can get in between.
"""

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing

from trtserve.engines.engine import State
from trtserve.engines.registry import Registry
from trtserve.errors import TrtserveError
from trtserve.pipe_reader import PipeReader
from trtserve.server.inheritance import READY, Inheritance
from trtserve.services import Services

logger = logging.getLogger(__name__)

ENDS_WITHIN_S = 10.0  # a successor that was told to end, or that has closed its pipe


class Handover:
    """One attempt. Belongs to the event loop."""

    def __init__(self, services: Services, http: Sequence[int], grpc: int | None) -> None:
        """`http` and `grpc` are the descriptors of the sockets that listen."""
        self._services = services
        self._http, self._grpc = tuple(http), grpc

    async def run(self) -> bool:
        """Return True once a successor listens, and False if there is none and this process serves on."""
        registry, settings = self._services.registry, self._services.settings
        logger.info("warm restart: changes are refused until a new process serves")
        await registry.rest(settings.drain_s)
        successor: subprocess.Popen[bytes] | None = None
        served = False
        try:
            ours, theirs = os.pipe()
            with closing(PipeReader(ours)) as pipe:
                try:
                    successor = await asyncio.to_thread(self._start, registry, theirs)
                finally:
                    os.close(theirs)
                logger.info("warm restart: process %d loads the engines", successor.pid)
                served = await _says_ready(pipe, settings.restart_timeout_s)
        except OSError as failure:
            logger.error("warm restart: the new process cannot be started: %s", failure)
        finally:
            if not served:
                await asyncio.shield(self._go_on(successor))
        if served and successor is not None:
            logger.info("warm restart: process %d serves; this one ends", successor.pid)
        return served

    def _start(self, registry: Registry, tell: int) -> subprocess.Popen[bytes]:
        inheritance = Inheritance(
            http=self._http,
            grpc=self._grpc,
            lock=self._services.store.lock_descriptor,
            tell=tell,
            engines=tuple(e.id for e in registry.engines() if e.state in {State.READY, State.DORMANT}),
        )
        return subprocess.Popen(
            [sys.executable, *sys.orig_argv[1:]],
            env=inheritance.given(os.environ),
            pass_fds=inheritance.descriptors,
        )

    async def _go_on(self, successor: subprocess.Popen[bytes] | None) -> None:
        """End the successor, if there is one, and use the store again."""
        if successor is not None:
            await asyncio.to_thread(_end, successor)
        try:
            await self._services.registry.resume()
        except TrtserveError as failure:
            logger.error("warm restart: given up, and changes stay refused: %s", failure)
        else:
            logger.error("warm restart: given up; this process serves on, and takes changes again")


async def _says_ready(pipe: PipeReader, within_s: float) -> bool:
    """True once READY comes; False if the other end is closed before, or the time is over."""
    try:
        async with asyncio.timeout(within_s):
            return await pipe.read(len(READY)) == READY  # which is written at once
    except TimeoutError:
        logger.error("warm restart: the new process has not loaded the engines within %g s", within_s)
        return False


def _end(successor: subprocess.Popen[bytes]) -> None:
    """End it; it lets go of the store however it ends. Blocks."""
    successor.terminate()
    try:
        successor.wait(ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        successor.kill()
        successor.wait()


async def left(connections: Callable[[], int], within_s: float) -> None:
    """Return once there are no connections, within the time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while connections() and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)  # as uvicorn waits for them
