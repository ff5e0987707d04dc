"""The open HTTP connections: how many there may be, and how long each may wait for its client.

One look per second at all of them, instead of a timer for each: it costs a request nothing.
"""

import asyncio
from collections import Counter
from enum import Enum
from typing import NamedTuple, Protocol

from trtserve.errors import Unavailable
from trtserve.inference.patience import Patience
from trtserve.places import CROWDED, FULL, Places
from trtserve.settings import Settings, most_connections, most_per_address
from trtserve.tls.door import HANDSHAKE

EVERY_S = 1.0
CLOSES_WITHIN_S = 5.0  # a client to which nothing is left to be sent


class Phase(Enum):
    """What a connection waits for: its client, except in WAITING."""

    WAITING = "waiting"  # for the server: the time is the request's
    IDLE = "idle"  # for the next request
    HEAD = "head"  # for the rest of a head, or for the first request
    BODY = "body"  # for the rest of a body
    REST = "rest"  # for the end of a body whose request is already answered
    ANSWER = "answer"  # until the client has received what was written
    CLOSING = "closing"  # over TLS, until the client ends the connection that the server has ended


RATED = {Phase.BODY, Phase.ANSWER}  # phases in which moved bytes give time back
REASONS = (*(phase.value for phase in Phase if phase is not Phase.WAITING), FULL, CROWDED, HANDSHAKE)


class Standing(NamedTuple):
    """What a connection waits for, and how far it has come."""

    phase: Phase
    number: int  # changes when the phase begins again
    moved: int  # bytes; grows as the client makes progress


class Watched(Protocol):
    """What Connections needs from a connection."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...

    def standing(self) -> Standing: ...
    def end_late(self, phase: Phase) -> bool:
        """End the connection, because its client was too slow in this phase; False if it was not: its next
        request has arrived, and nobody has read it yet."""

    def give_up(self) -> None:
        """Refuse the request in progress, because the server stops and nothing else refuses it."""


class _Seen:
    """What the last look found about a connection."""

    __slots__ = ("patience", "standing")

    def __init__(self, standing: Standing, patience: Patience | None) -> None:
        self.standing = standing
        self.patience = patience  # None: no time limit


class Connections:
    """The open connections. Belongs to the event loop; its clock is the loop of the connections."""

    def __init__(self, settings: Settings) -> None:
        self.places = Places(most_connections(settings), most_per_address(settings))
        self.ended: Counter[str] = Counter()  # connections ended or refused here, by reason
        self.header_timeout_s = settings.header_timeout_s
        self._limits = {
            Phase.IDLE: settings.idle_timeout_s,
            Phase.HEAD: settings.header_timeout_s,
            Phase.BODY: settings.body_timeout_s,
            Phase.REST: settings.body_timeout_s,
            Phase.ANSWER: settings.write_timeout_s,
            Phase.CLOSING: CLOSES_WITHIN_S,
        }
        self._open: dict[Watched, _Seen] = {}
        self._addresses: dict[Watched, str | None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looked = 0.0
        # True: another process serves from now on, so each connection ends with its next answer.
        self.leaving = False

    def __len__(self) -> int:
        return len(self._open)

    def open(self) -> list[Watched]:
        return list(self._open)

    def refused(self, reason: str) -> None:
        """Count a connection that ended before it was added."""
        self.ended[reason] += 1

    def add(self, connection: Watched, address: str | None, *, placed: bool = False) -> None:
        """Add a connection; `placed`: it has its place already, and hands it over.

        Raises Unavailable at the limit, of all connections or of this address.
        """
        refused = None if placed else self.places.take(address)
        if refused is not None:
            self.ended[refused] += 1
            raise Unavailable(
                f"This server has {self.places.most} connections open, its limit: close some, or start it "
                "with a higher --max-connections (TRTSERVE_MAX_CONNECTIONS)."
                if refused == FULL
                else f"Your address has {self.places.most_of_one} connections open, the most that one may "
                "have: send further requests over these, or start the server with a higher "
                "--max-connections-per-address (TRTSERVE_MAX_CONNECTIONS_PER_ADDRESS)."
            )
        self._open[connection] = self._begun(Standing(Phase.HEAD, 0, 0))
        self._addresses[connection] = address
        if self._loop is None:
            self._loop = connection.loop
            self._looked = self._loop.time()
            self._loop.call_later(EVERY_S, self._look)

    def remove(self, connection: Watched) -> None:
        """Remove a connection that has ended; do nothing if it was never added."""
        if self._open.pop(connection, None) is None:
            return
        self.places.give(self._addresses.pop(connection))

    def _begun(self, standing: Standing) -> _Seen:
        limit = self._limits.get(standing.phase)
        return _Seen(standing, None if limit is None else Patience(limit))

    def _look(self) -> None:
        """End the connections whose clients have no time left; look again while any are open."""
        if not self._open:
            self._loop = None
            return
        assert self._loop is not None
        now = self._loop.time()
        # A blocked loop has not read what arrived meanwhile: that is not the clients' fault.
        passed = min(now - self._looked, 2 * EVERY_S)
        self._looked = now
        self._loop.call_later(EVERY_S, self._look)
        for connection, before in self._open.copy().items():
            standing = connection.standing()
            if standing[:2] != before.standing[:2]:
                self._open[connection] = self._begun(standing)
            elif before.patience is not None:
                moved = standing.moved - before.standing.moved if standing.phase in RATED else 0
                before.standing = standing
                if not before.patience.spend(passed, max(0, moved)) and connection.end_late(standing.phase):
                    self.ended[standing.phase.value] += 1
                    before.patience = None  # once is enough
