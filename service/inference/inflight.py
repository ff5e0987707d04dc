"""Bounds the memory that the bodies of all inference requests take together."""

from collections.abc import Iterator
from contextlib import contextmanager

from trtserve.errors import Unavailable

LEFT = 16  # the largest requests must leave 1 / LEFT of the limit for smaller ones


class InflightBytes:
    """Counts the bytes of bodies being received or served, under one limit. Belongs to the event loop.

    Bytes count as they arrive. A request must leave as much room as it takes, up to 1 / LEFT of the limit: so
    large requests that arrive slowly leave room for smaller ones, and those for smaller ones still.
    """

    def __init__(self, limit: int, largest: int | None = None) -> None:
        """`limit` and `largest` are in bytes; a request of `largest` bytes fits if there is no other."""
        self._limit = limit
        self._left = min(limit // LEFT, limit - (limit if largest is None else largest))
        self._always = limit - self._left  # up to here any request has room
        self._taken = 0  # the sum over all shares

    @property
    def taken(self) -> int:
        return self._taken

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """The share of one request, empty at first; always given back at the end."""
        share = Share(self)
        try:
            yield share
        finally:
            share.close()

    def give_back(self, size: int) -> None:
        self._taken -= size

    def take(self, size: int, whole: int | None = None) -> None:
        """Take `size` bytes, until give_back(). Raises Unavailable if they would leave too little room.

        `whole`: the request's known size in bytes, if these are only a part of it.
        """
        if self._taken + size > self._always:
            self.check(size, size if whole is None else whole)
        self._taken += size

    def check(self, size: int, whole: int) -> None:
        """Raise what take() would raise, but take nothing."""
        after = self._taken + size
        if after > self._limit - min(whole, self._left):
            over = "are over" if after > self._limit else "would leave too little room for smaller ones under"
            raise Unavailable(
                f"The requests in progress hold {self._taken} bytes; {size} more {over} this server's limit "
                f"of {self._limit} for all together, --max-inflight-bytes (TRTSERVE_MAX_INFLIGHT_BYTES). "
                "Try again when some of them have been answered."
            )


class KeptOutputs:
    """The outputs of batches that are kept for slow clients: each batch counts once.

    Belongs to the event loop.
    """

    def __init__(self, inflight: InflightBytes) -> None:
        self._inflight = inflight
        self._kept: dict[
            int, tuple[int, int]
        ] = {}  # by the batch memory's ID: its bytes, and how many clients it is kept for

    def keep(self, memory: tuple[int, int]) -> None:
        """Keep a batch's memory (ID, bytes) for one more client, until let_go(). Raises Unavailable."""
        which, size = memory
        if which not in self._kept:
            self._inflight.take(size, 0)
        self._kept[which] = (size, self._kept.get(which, (0, 0))[1] + 1)

    def let_go(self, memory: tuple[int, int]) -> None:
        which, _ = memory
        size, clients = self._kept.pop(which)
        if clients == 1:
            self._inflight.give_back(size)
        else:
            self._kept[which] = (size, clients - 1)


class Untaken:
    """An answer that its client has not received whole. It counts, now or once there is room for it."""

    def __init__(self, kept: KeptOutputs, memory: tuple[int, int]) -> None:
        """`memory`: the ID and size in bytes of the memory of the answer's batch, or of the answer."""
        self._kept = kept
        self._memory = memory
        self._counts = self._count()
        self._looked = False

    def has_room(self) -> bool:
        """Call at each look: False if the answer does not count, and did not at an earlier look."""
        first, self._looked = not self._looked, True
        if not self._counts:
            self._counts = self._count()
        return self._counts or first

    def end(self) -> None:
        """Stop counting: the client has received the answer, or never will."""
        if self._counts:
            self._kept.let_go(self._memory)
            self._counts = False

    def _count(self) -> bool:
        try:
            self._kept.keep(self._memory)
        except Unavailable:
            return False
        return True


class Share:
    """One request's share of the bytes, until close(); InflightBytes.share() closes the one it makes."""

    def __init__(self, whole: InflightBytes) -> None:
        self._whole = whole
        self.size = 0  # bytes
        self._expected = 0  # the bytes that the request has announced

    def expect(self, size: int) -> None:
        """Announce the request's total size in bytes. Raises Unavailable if there is no room for it now."""
        self._whole.check(size, size)
        self._expected = size

    def grow_to(self, size: int) -> None:
        """Grow to at least `size` bytes. Raises Unavailable, and stays as it was, if there is no room."""
        if size > self.size:
            self._whole.take(size - self.size, max(size, self._expected))
            self.size = size

    def close(self) -> None:
        """Give the bytes back."""
        self._whole.give_back(self.size)
        self.size = 0
