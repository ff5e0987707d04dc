"""Which requests are traced: those whose caller says so and, of those without a caller's word, a share."""

import math
import random
import re
from collections.abc import Callable
from typing import NamedTuple

from trtserve.telemetry.asked import TRACEPARENT, TRACESTATE, Asked

# W3C Trace Context, 3.2.2: IDs are not zeros, and later versions may add something.
PARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
SAMPLED = 1  # of the flags
NOT_SAMPLED = b"-00"


class Trace(NamedTuple):
    """Where a request's span belongs."""

    trace_id: int
    span_id: int  # the request's own
    parent_id: int  # of the caller's span; 0: there is none
    state: bytes | None  # the caller's tracestate

    @property
    def parent(self) -> str:
        """As the header traceparent says that the request's own span is the parent."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


class Draws:
    """Draws a share of the requests. Belongs to the event loop."""

    def __init__(self, rate: float, chance: Callable[[], float] = random.random) -> None:
        """`rate`: the share; `chance` is from 0 up to 1."""
        self._rate = rate
        self._chance = chance
        self._left = self._gap()

    def next(self) -> bool:
        """Count a request; True if it is drawn."""
        self._left -= 1
        if self._left > 0:
            return False
        self._left = self._gap()
        return True

    def _gap(self) -> float:
        """How many requests until the next that is drawn, as if each was drawn for: but once for all."""
        if self._rate <= 0:
            return math.inf
        if self._rate >= 1:
            return 1
        return 1 + math.floor(math.log(1 - self._chance()) / math.log(1 - self._rate))


class Sampler:
    """Decides when a request begins. Belongs to the event loop."""

    def __init__(self, draws: Draws) -> None:
        """`draws` from the requests without a caller's word."""
        self.draws = draws.next

    def trace_of(self, asked: Asked) -> Trace | None:
        """Where the request's span belongs; None if it is not traced."""
        given = asked[TRACEPARENT]
        if given is not None:
            if given.endswith(
                NOT_SAMPLED
            ):  # first, because most callers say so; whole or not, there is no trace
                return None
            found = PARENT.fullmatch(given)
            if found is not None and not (found[1] == b"00" and found[5]):
                if not int(found[4], 16) & SAMPLED:
                    return None
                return Trace(int(found[2], 16), _new(64), int(found[3], 16), asked[TRACESTATE])
        return new_trace() if self.draws() else None


def new_trace() -> Trace:
    """That of a request without a caller's trace."""
    return Trace(_new(128), _new(64), 0, None)


def _new(bits: int) -> int:
    return random.getrandbits(bits) or 1
