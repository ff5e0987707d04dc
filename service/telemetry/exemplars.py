"""The last traced request in each bucket of an engine's latency under a name: for a histogram's exemplars."""

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from trtserve.telemetry.observed import SUCCESS, Observed

MOST_ENGINES = 1024  # kept, under each of their names; the one whose last trace is oldest goes first


class Exemplar(NamedTuple):
    trace_id: int
    seconds: float  # the value that was observed
    at: float  # seconds since 1970


class Exemplars:
    """Belongs to the event loop; of() may be called by any thread."""

    def __init__(self, bounds: Callable[[], Sequence[float]], clock: Callable[[], float] = time.time) -> None:
        """`bounds` is asked once an engine has run: the buckets' upper bounds in seconds, ascending; greater
        values have one more bucket."""
        self._ask = bounds
        self._bounds: Sequence[float] = ()
        self._clock = clock
        self._kept: dict[tuple[int, str], dict[int, Exemplar]] = {}  # by engine, its name, and bucket

    def ended(self, observed: Observed) -> None:
        """Keep a traced request that went well, in the bucket in which the runtime has counted it."""
        _, arrival, *_, end = observed.times
        if observed.trace is None or observed.kind != SUCCESS or not end:
            return
        if not self._bounds:
            self._bounds = self._ask()
        seconds = (end - arrival) / 1e9
        key = observed.engine_id, observed.engine[0] if observed.engine is not None else ""
        buckets = self._kept.pop(key, {})
        bucket = bisect_left(self._bounds, seconds)
        # A new dictionary, because a scrape may be reading the old one.
        self._kept[key] = {
            **buckets,
            bucket: Exemplar(observed.trace.trace_id, seconds, self._clock()),
        }
        if len(self._kept) > MOST_ENGINES:
            del self._kept[next(iter(self._kept))]

    def of(self, engine_id: int, name: str) -> Mapping[int, Exemplar]:
        """By bucket. `name`: what the answers call the engine."""
        return self._kept.get((engine_id, name), {})
