"""The gRPC server: beside the HTTP server, on the same event loop, with the same services."""

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

# Before the library is loaded: a sentence here replaces what it would print about a taken port.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from grpc_health.v1 import health_pb2_grpc

from runtime_ext import GRPC_SESSION
from trtserve.access.opening import demands_tokens
from trtserve.errors import Conflict
from trtserve.rpc import methods
from trtserve.rpc.authorize import Authorizing
from trtserve.rpc.delivery import Delivery
from trtserve.rpc.health import Health
from trtserve.rpc.infer import Infer
from trtserve.rpc.reflection import Reflection
from trtserve.rpc.secure import credentials
from trtserve.services import Services
from trtserve.settings import Settings, most_connections
from trtserve.tls.certificates import Certificates

if TYPE_CHECKING:
    from trtserve.rpc.fast.server import FastServer

# A line for every call would bury the server's own log.
logging.getLogger("grpc").setLevel(logging.INFO)

MOST_MESSAGE_BYTES = 2**31 - 1  # gRPC keeps it in an int
MOST_MS = 2**31 - 1  # which it takes for "never"


class RpcServer:
    """Started and stopped once. Belongs to the event loop that it is created on."""

    def __init__(
        self,
        settings: Settings,
        certificates: Certificates | None = None,
        inherited: socket.socket | None = None,
    ) -> None:
        """Bind the port, unless a socket is `inherited`; with `certificates`, calls come over TLS.

        Raises Conflict if the port is unavailable.
        """
        self._settings = settings
        self._authorizing = Authorizing() if demands_tokens(settings) else None
        most = settings.grpc_max_message_bytes or min(settings.max_request_bytes, MOST_MESSAGE_BYTES)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self._fast: FastServer | None = None
        self._server: Any
        try:
            if settings.grpc_server == "auto" and GRPC_SESSION:
                self._server = self._fast = _fast(settings, most, certificates, inherited)
                port = self._fast.port
            else:
                interceptors = None if self._authorizing is None else [self._authorizing]
                self._server = grpc.aio.server(options=_options(settings, most), interceptors=interceptors)
                address = f"{host}:{settings.grpc_port}"
                if certificates is None:
                    port = self._server.add_insecure_port(address)
                else:
                    port = self._server.add_secure_port(address, credentials(certificates))
        except (OSError, RuntimeError):
            raise Conflict(
                f"gRPC cannot listen on {host}:{settings.grpc_port}: the port is taken, or the address is "
                "not one of this machine. Choose another port with --grpc-port (TRTSERVE_GRPC_PORT): 0 picks "
                "a free one, off disables gRPC."
            ) from None
        self.address = f"{host}:{port}"

    async def start(self, services: Services) -> None:
        """Start serving, with the services of the running application."""

        def count(kind: str) -> None:
            services.metrics.errors.labels(kind).inc()

        delivery = Delivery(services.inflight, self._settings.write_timeout_s, count)
        guard = services.guard
        if guard is not None and self._authorizing is not None:
            self._authorizing.begin(guard, count)
        self._infer = Infer(
            services.inference, services.inflight, delivery, count, observer=services.observer, guard=guard
        )
        self._health = Health(services, methods.SERVICE.full_name)
        self._server.add_generic_rpc_handlers((methods.handlers(services, self._infer, delivery, count),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._reflection = Reflection((methods.SERVICE.full_name, "grpc.health.v1.Health"))
        self._server.add_generic_rpc_handlers(self._reflection.handlers())
        if self._fast is not None:
            await self._fast.start(services, self._infer, count)
        else:
            await self._server.start()

    @property
    def descriptor(self) -> int | None:
        """Of the socket that listens; None if it cannot be handed over, because it is grpc.aio's own."""
        return self._fast.descriptor if self._fast is not None else None

    @property
    def connections(self) -> int:
        return self._fast.connections if self._fast is not None else 0

    def leave(self) -> None:
        """Accept no more connections, and let each end with its calls: another process serves from now on."""
        if self._fast is not None:
            self._fast.leave()

    async def stop(self) -> None:
        """Accept no more calls, and return when those in progress are answered, after drain_s at most."""
        self._health.stop()
        self._infer.stop()
        self._reflection.stop()
        await self._server.stop(self._settings.drain_s)


def _fast(
    settings: Settings, most: int, certificates: Certificates | None, inherited: socket.socket | None
) -> "FastServer":
    # Only here: the extension may have been built without what it needs.
    from trtserve.rpc.fast.server import FastServer

    return FastServer(settings, most, certificates, inherited)


def _options(settings: Settings, most: int) -> list[tuple[str, int]]:
    """The channel arguments of grpc.aio's server; `most`: bytes of a message."""
    return [
        ("grpc.max_receive_message_length", most),
        ("grpc.max_send_message_length", most),
        ("grpc.so_reuseport", 0),  # otherwise two servers would share a port, and each other's clients
        *_keepalive(settings),
        *_connections(settings),
    ]


def _connections(settings: Settings) -> list[tuple[str, int]]:
    """Channel arguments that limit idle connections, and the numbers of connections and calls.

    If a client reads nothing, the system ends its connection after TCP_USER_TIMEOUT: keepalive_timeout_ms.
    """
    times = {
        "grpc.server_handshake_timeout_ms": settings.header_timeout_s,  # for the preface and its settings
        "grpc.http2.settings_timeout": settings.header_timeout_s,  # in ms, until ours are acknowledged
        "grpc.max_connection_idle_ms": settings.grpc_max_connection_idle_s,
    }
    return [
        *((name, _ms(value)) for name, value in times.items()),
        ("grpc.max_allowed_incoming_connections", most_connections(settings)),
        ("grpc.max_concurrent_streams", settings.grpc_max_concurrent_streams),
    ]


def _ms(seconds: float) -> int:
    return min(int(1000 * seconds), MOST_MS)


def _keepalive(settings: Settings) -> list[tuple[str, int]]:
    """Channel arguments for pings, and for the age of connections: see gRPC's guide to keepalive."""
    options = {
        "grpc.keepalive_time_ms": settings.grpc_keepalive_time_s,
        "grpc.keepalive_timeout_ms": settings.grpc_keepalive_timeout_s,
        "grpc.http2.min_ping_interval_without_data_ms": settings.grpc_min_ping_interval_s,
        "grpc.max_connection_age_ms": settings.grpc_max_connection_age_s,
        "grpc.max_connection_age_grace_ms": (
            settings.drain_s
            if settings.grpc_max_connection_grace_s is None
            else settings.grpc_max_connection_grace_s
        ),
    }
    times = [(name, _ms(value)) for name, value in options.items() if value is not None]
    return [
        *times,
        ("grpc.keepalive_permit_without_calls", int(settings.grpc_keepalive_without_calls)),
        ("grpc.http2.max_pings_without_data", settings.grpc_max_pings_without_data),
        ("grpc.http2.max_ping_strikes", settings.grpc_max_ping_strikes),
    ]
