"""What a process inherits that takes over from a running server: see handover.py."""

import json
import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass
from typing import Self

VARIABLE = "_TRTSERVE_INHERITED"  # of the environment; not a setting
READY = b"ready\n"


@dataclass(frozen=True)
class Inheritance:
    """Descriptors that are open in this process, and what the server before it serves."""

    http: tuple[int, ...]  # sockets that listen
    grpc: int | None  # likewise; None: gRPC is off
    lock: int  # of the store
    tell: int  # the end of a pipe to write READY to
    engines: tuple[int, ...]  # IDs of the engines that must be served, or the restart is given up

    @classmethod
    def take(cls, environment: MutableMapping[str, str] = os.environ) -> Self | None:
        """What the environment says was inherited, and no longer says then; None in an ordinary start."""
        told = environment.pop(VARIABLE, None)
        if told is None:
            return None
        read = json.loads(told)
        found = cls(**read | {"http": tuple(read["http"]), "engines": tuple(read["engines"])})
        for descriptor in found.descriptors:
            os.set_inheritable(descriptor, False)
        return found

    def given(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The environment of the process that inherits."""
        kept = {name: value for name, value in environment.items() if name != "WATCHDOG_PID"}
        return kept | {VARIABLE: json.dumps(asdict(self))}

    @property
    def descriptors(self) -> tuple[int, ...]:
        grpc = () if self.grpc is None else (self.grpc,)
        return (*self.http, *grpc, self.lock, self.tell)

    def http_sockets(self) -> list[socket.socket]:
        return [socket.socket(fileno=descriptor) for descriptor in self.http]

    def grpc_socket(self) -> socket.socket | None:
        return None if self.grpc is None else socket.socket(fileno=self.grpc)

    def tell_ready(self) -> None:
        """Let the server before this one leave."""
        os.write(self.tell, READY)
        os.close(self.tell)
