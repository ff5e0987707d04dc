"""The memory that the bodies of inference requests may take, all together."""

from collections.abc import Iterator
from contextlib import contextmanager

from trtserve.errors import Unavailable

LEFT = 16  # of the limit, such a part stays for others than the largest requests


class InflightBytes:
    """Bytes of the bodies that are being received or served, under one limit. Belongs to the event loop.

    They count as they arrive. A request leaves as much room as it takes itself, up to a part of the limit: so
    large ones that come slowly leave room for smaller ones, and those for smaller ones still.
    """

    def __init__(self, limit: int, largest: int | None = None) -> None:
        """`largest`: bytes of the largest request, which finds room where there is no other."""
        self._limit = limit
        self._left = min(limit // LEFT, limit - (limit if largest is None else largest))
        self._always = limit - self._left  # up to which nobody has to look at what is left
        self._taken = 0  # the sum over all shares

    @property
    def taken(self) -> int:
        return self._taken

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """The share of one request, empty at first; given back at the end, however that comes."""
        share = Share(self)
        try:
            yield share
        finally:
            share.close()

    def give_back(self, size: int) -> None:
        self._taken -= size

    def take(self, size: int, whole: int | None = None) -> None:
        """To be given back. Raises Unavailable where this many more bytes would leave too little room.

        `whole`: bytes of the request, as far as is known, where these are but a part of it.
        """
        if self._taken + size > self._always:
            self.check(size, size if whole is None else whole)
        self._taken += size

    def check(self, size: int, whole: int) -> None:
        """Raise what take() would, and take nothing."""
        after = self._taken + size
        if after > self._limit - min(whole, self._left):
            over = "are over" if after > self._limit else "would leave too little room for smaller ones under"
            raise Unavailable(
                f"The requests under way hold {self._taken} bytes; {size} more {over} this server's limit "
                f"of {self._limit} for all together, --max-inflight-bytes (TRTSERVE_MAX_INFLIGHT_BYTES). "
                "Try again when some of them have been answered."
            )


class KeptOutputs:
    """The outputs of batches that are kept for clients who have not taken theirs: each batch counts once.

    Belongs to the event loop.
    """

    def __init__(self, inflight: InflightBytes) -> None:
        self._inflight = inflight
        self._kept: dict[
            int, tuple[int, int]
        ] = {}  # by what tells a batch's memory: its bytes, and for how many

    def keep(self, memory: tuple[int, int]) -> None:
        """For one client more, until let_go(). Raises Unavailable where there is no room."""
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
    """An answer that its client has not taken whole. It counts, or will once there is room for it."""

    def __init__(self, kept: KeptOutputs, memory: tuple[int, int]) -> None:
        """`memory`: of the answer's batch, or what tells it from all others and its size."""
        self._kept = kept
        self._memory = memory
        self._counts = self._count()
        self._looked = False

    def has_room(self) -> bool:
        """At a look: whether it counts, or this is the first look at which it does not."""
        first, self._looked = not self._looked, True
        if not self._counts:
            self._counts = self._count()
        return self._counts or first

    def end(self) -> None:
        """It has been taken, or never will be."""
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
    """What one request has of the bytes, until close(); InflightBytes.share closes what it made itself."""

    def __init__(self, whole: InflightBytes) -> None:
        self._whole = whole
        self.size = 0  # bytes
        self._expected = 0  # bytes that the request will have, where it has said so

    def expect(self, size: int) -> None:
        """So many bytes are to come in all. Raises Unavailable where there is no room for them now."""
        self._whole.check(size, size)
        self._expected = size

    def grow_to(self, size: int) -> None:
        """Have at least so many bytes. Raises Unavailable, and has what it had, where they are not there."""
        if size > self.size:
            self._whole.take(size - self.size, max(size, self._expected))
            self.size = size

    def close(self) -> None:
        """Give the bytes back."""
        self._whole.give_back(self.size)
        self.size = 0
