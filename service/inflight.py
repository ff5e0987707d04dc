"""The memory that the bodies of inference requests may take, all together."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Unavailable

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
