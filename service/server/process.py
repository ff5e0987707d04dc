"""The server process: uvicorn around the application."""

import asyncio
import ctypes
import gc
import logging
import math
import os
import signal
import socket
import sys
from collections.abc import Awaitable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
import uvicorn
from fastapi import FastAPI

from runtime_ext.backends import built_backends
from runtime_ext.trial import fork_host
from trtserve.access.opening import check_opening
from trtserve.engines.engine import State
from trtserve.engines.seam_options import check_tensorrt_libraries, tensorrt_options
from trtserve.folder.files import open_files
from trtserve.http.secure import SecureProtocol
from trtserve.http.short_way import InferProtocol
from trtserve.plans.trial import ProcessTrial, TrialHost
from trtserve.server.app import create_app, left_behind
from trtserve.server.handover import Handover, left
from trtserve.server.inheritance import Inheritance
from trtserve.server.log_format import log_to
from trtserve.server.rereading import reread
from trtserve.server.supervisor import Supervisor
from trtserve.services import services_of
from trtserve.settings import MIB, Settings
from trtserve.store.load_marks import record_crashes
from trtserve.store.served_folder import ServedFile
from trtserve.store.store import Store
from trtserve.tls.certificates import Certificates
from trtserve.version import VERSION

if TYPE_CHECKING:
    from trtserve.http.connection_limits import Connections
    from trtserve.rpc.server import RpcServer

logger = logging.getLogger(__name__)

# A collection of younger objects visits some 3000 at most, which takes half a millisecond; and 64 requests
# of JSON under way, with some ten objects each, are too few to begin one. A full one is as rare as before.
COLLECTOR = (1000, 1, 75)
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3


def serve(settings: Settings) -> bool:
    """Serve until SIGINT or SIGTERM; returns False if the start failed.

    Raises InvalidInput for a library of TensorRT, a token file, a certificate or a folder of models that
    cannot be used, and for a server that would be open to others unasked; TrtserveError for a bad store; and
    Conflict if gRPC's port is taken.
    """
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # until there is something to hand over
    inherited = Inheritance.take()
    check_opening(settings)
    certificates = Certificates.of(settings)
    log_to(sys.stderr, settings)
    if settings.log_level == "info":
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its start is told by Server below
    tensorrt = tensorrt_options(settings)
    check_tensorrt_libraries(tensorrt, built_backends())
    if settings.model_repository is not None:
        open_files(settings.model_repository)
        ServedFile(settings.store).read()
    trial = None
    if settings.trial_load:
        # First: a copy of this process before it has threads, files and a GPU.
        host = TrialHost(fork_host(inherited.descriptors if inherited is not None else ()))
        trial = ProcessTrial(tensorrt, settings.trial_load_timeout_s, host)
    # A store that cannot be opened is reported here in one sentence; in the application's start uvicorn
    # would make a traceback of it.
    lock = inherited.lock if inherited is not None else None
    Store(settings.store, inherited=lock).close()
    record_crashes(settings.store)
    _keep_large_blocks()
    app = create_app(settings, trial=trial, lock=lock)
    protocol: Any = InferProtocol  # uvicorn only calls it, for each connection
    if certificates is not None:
        protocol = SecureProtocol(certificates, settings)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        workers=1,  # otherwise uvicorn reads WEB_CONCURRENCY, and rejects an empty value
        timeout_graceful_shutdown=max(1, math.ceil(settings.drain_s)),
    )
    # uvicorn raises the signal that stopped it once more at its very end (Python makes a KeyboardInterrupt of
    # SIGINT): a stop that was asked for and went well is a success to whoever supervises this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = Server(config, settings, app, certificates, inherited)
    with suppress(KeyboardInterrupt):
        server.run()
    return server.served


def _keep_large_blocks() -> None:
    """Let glibc's malloc keep the memory of bodies and outputs for the next ones.

    By default, malloc returns large blocks to the system at once, and each new one is faulted in again page
    by page, which for a body of 600 KB takes longer than reading it. Source: mallopt(3); 32 MiB is the
    greatest threshold.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 32 * MIB)
        mallopt(M_TRIM_THRESHOLD, 256 * MIB)


def freeze_objects() -> None:
    """Hide all existing objects from the garbage collector.

    Most belong to modules and stay. With them a full collection, which visits every object, took a tenth
    of a second, in which no request was answered; now it visits only newer objects.
    """
    gc.collect()
    gc.freeze()


async def freeze_after(loads: Awaitable[None]) -> None:
    """Freeze again once the engines of a start are loaded: with many, they have most of the objects."""
    await loads
    freeze_objects()


def limit_collections() -> None:
    """Bound the time that the garbage collector stops the event loop for its younger objects."""
    gc.set_threshold(*COLLECTOR)


def _exit_now() -> None:
    """End the process with success, whatever its threads do."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(0)


class Server(uvicorn.Server):
    """uvicorn's server with gRPC beside it. It prints where both listen: port 0 is known only then."""

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        app: FastAPI,
        certificates: Certificates | None = None,
        inherited: Inheritance | None = None,
    ) -> None:
        """Without `certificates`, connections have no TLS; `inherited` from the server that this succeeds."""
        super().__init__(config)
        self.served = False  # it has listened
        self._inherited = inherited
        self._handover: asyncio.Task[None] | None = None
        self._leaves = False  # a successor serves
        self._settings = settings
        self._app = app
        self._certificates = certificates
        self._rereading: asyncio.Task[None] | None = None
        self._rpc: RpcServer | None = None
        self._freezing: asyncio.Task[None] | None = None
        self._supervisor = Supervisor()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Raises Conflict if gRPC's port is taken, before anything is loaded."""
        if self._settings.grpc_port != "off":
            # Only here: its messages may be in a process once, and clients (and tests) have their own.
            from trtserve.rpc.server import RpcServer

            inherited = self._inherited.grpc_socket() if self._inherited is not None else None
            self._rpc = RpcServer(self._settings, self._certificates, inherited)
        await super().startup(sockets if self._inherited is None else [])
        if not self.started or not await self._succeeds():
            return
        self.served = True
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        scheme = "http" if self._certificates is None else "https"
        url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
        click.echo(f"trtserve listens on {url} (documentation: {url}/docs)")
        if self._rpc is not None:
            await self._rpc.start(services_of(self._app))
            click.echo(f"trtserve listens on {self._rpc.address} for gRPC")
        self._tell_what_runs()
        self._supervisor.listening()
        if self._inherited is not None:
            self._inherited.tell_ready()
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, self._restart)
        files = [part for part in (services_of(self._app).guard, self._certificates) if part is not None]
        if files:
            self._rereading = asyncio.create_task(reread(files))
        freeze_objects()
        limit_collections()
        self._freezing = asyncio.create_task(freeze_after(services_of(self._app).registry.restored()))

    def _tell_what_runs(self) -> None:
        services = services_of(self._app)
        logger.info(
            "trtserve %s with the backends %s; the store %s has %d engines",
            VERSION,
            ", ".join(services.runtime.backends()),
            self._settings.store.resolve(),
            len(services.registry.engines()),
        )

    async def _succeeds(self) -> bool:
        """As a successor, listen once the engines are loaded; False if one cannot be loaded, and this process
        must not take over."""
        if self._inherited is None:
            return True
        registry = services_of(self._app).registry
        await registry.loaded()
        served = {engine.id: engine for engine in registry.engines()}
        for id in self._inherited.engines:
            engine = served.get(id)
            if engine is None or engine.state is State.FAILED:
                reason = engine.reason if engine is not None else "it is not in the store"
                logger.error(
                    "engine %s is served by the former process, and not here: %s", engine or id, reason
                )
                self.should_exit = True
        if self.should_exit:
            return False
        loop, config = asyncio.get_running_loop(), self.config

        def protocol() -> asyncio.Protocol:  # as in uvicorn's own startup
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
            )
            return made

        sockets = self._inherited.http_sockets()
        self.servers = [
            await loop.create_server(protocol, sock=each, backlog=config.backlog) for each in sockets
        ]
        return True

    def _restart(self) -> None:
        """Begin a warm restart, unless one is under way, or is not possible."""
        if self._handover is None or self._handover.done():
            self._handover = asyncio.create_task(self._hand_over())

    async def _hand_over(self) -> None:
        grpc = self._rpc.descriptor if self._rpc is not None else None
        if self._rpc is not None and grpc is None:
            logger.error(
                "no warm restart: grpc.aio cannot hand its socket over (grpc_server, or nghttp2 is missing)"
            )
            return
        if os.getpid() == 1:
            logger.error("no warm restart: this is process 1, whose end would end its container")
            return
        http = [each.fileno() for server in self.servers for each in server.sockets]
        if await Handover(services_of(self._app), http, grpc).run():
            self._leaves = self.should_exit = True

    async def _leave(self) -> None:
        """Let the successor have all new connections, and each of ours end with its next answer."""
        for server in self.servers:
            server.close()
        connections: Connections = self._app.state.connections
        connections.leaving = True
        if self._rpc is not None:
            self._rpc.leave()
        await left(lambda: len(connections) + self._connections_of_grpc, self._settings.drain_s)

    @property
    def _connections_of_grpc(self) -> int:
        return self._rpc.connections if self._rpc is not None else 0

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop both at the same time, and then the application, within the drain time, which begins now.

        Does not return if a load or an execution may never end: Python would wait for its thread.
        """
        if self._leaves:
            await self._leave()
        else:
            self._supervisor.stopping()
        if self._handover is not None:
            self._handover.cancel()
            await asyncio.wait((self._handover,))
        for task in (self._freezing, self._rereading):
            if task is not None:
                task.cancel()
        if isinstance(self.config.http, SecureProtocol):
            self.config.http.close()
        if self.started:
            services_of(self._app).registry.begin_drain()
        if self._rpc is not None and self.served:  # a successor that must not take over has not started it
            stopping = asyncio.create_task(self._rpc.stop())
            # uvicorn waits for these, as long as for its connections, before it ends the application.
            self.server_state.tasks.add(stopping)
            stopping.add_done_callback(self.server_state.tasks.discard)
        await super().shutdown(sockets)
        if left_behind(self._app):
            logger.warning("the server ends while loads or executions have not ended")
            _exit_now()
