"""A long answer on its way to a client over TLS.

asyncio encrypts everything that it is given at once, passes it on to the connection below, and no longer
counts it: with a long answer nobody would know how much of it the client has taken. So it gets a little at a
time.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from trtserve.codec import Body

STEP_BYTES = 262_144  # handed over at once


class Backlog:
    """What is left to be handed over. Belongs to the event loop."""

    def __init__(self, transport: Any, parts: Iterable[Body]) -> None:
        """The transport must pause its protocol as soon as it keeps anything, and resume it when it has
        nothing left: set_write_buffer_limits(high=1, low=0)."""
        self._transport = transport
        self._pieces = deque(
            memoryview(part)[begin : begin + STEP_BYTES]
            for part in parts
            for begin in range(0, len(part), STEP_BYTES)
        )
        self.nbytes = sum(map(len, self._pieces))

    def hand_over(self) -> bool:
        """Hand over as much as the client takes now; True once the transport keeps nothing of it either."""
        while self._pieces and self._transport.get_write_buffer_size() == 0:
            piece = self._pieces.popleft()
            self.nbytes -= len(piece)
            self._transport.write(piece)
        return not self._pieces and self._transport.get_write_buffer_size() == 0
