"""The rest of a body on the short way, read into one buffer."""

import asyncio
from typing import Protocol

import numpy as np

from trtserve.http.short_heads import KnownHead

DROPPED_BYTES = 65536  # read at a time of a body that is not needed
ALIGNMENT = 64  # bytes; a body's tensors begin at a multiple, so that they can be used in place


class Owner(Protocol):
    """The connection that a body arrives on."""

    def body_came(self, body: "ShortBody", nbytes: int) -> None: ...
    def body_dropped(self) -> None: ...
    def body_complete(self, body: "ShortBody") -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class ShortBody(asyncio.BufferedProtocol):
    """Reads the rest of a body into one buffer, then gives the connection back."""

    def __init__(self, owner: Owner, known: KnownHead, begun: memoryview) -> None:
        self._owner = owner
        self.known = known
        # np.empty does not clear the memory; the view starts where the first tensor is aligned.
        buffer = np.empty(known.length + ALIGNMENT, np.uint8)
        first = -(buffer.ctypes.data + max(0, known.header_length)) % ALIGNMENT
        self.view = memoryview(buffer.data)[first : first + known.length]
        self.received = len(begun)
        self.dropped = False  # its request has been refused
        self.view[: len(begun)] = begun

    def get_buffer(self, sizehint: int) -> memoryview:
        if self.dropped:
            return self.view[: self.known.length - self.received]
        return self.view[self.received :]

    def buffer_updated(self, nbytes: int) -> None:
        self.received += nbytes
        if not self.dropped:
            self._owner.body_came(self, nbytes)
        if self.received < self.known.length:
            return
        if self.dropped:
            self._owner.body_dropped()
        else:
            self._owner.body_complete(self)

    def drop(self) -> None:
        """Keep nothing of the body, neither what has arrived nor the rest."""
        self.dropped = True
        self.view = memoryview(bytearray(DROPPED_BYTES))

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        self._owner.resume_writing()
