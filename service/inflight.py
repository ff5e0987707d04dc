"""The memory that the bodies of inference requests may take, all together."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Unavailable


class InflightBytes:
    """Bytes of the bodies that are being received or served, under one limit. Belongs to the event loop."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
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

    def take(self, size: int) -> None:
        """To be given back. Raises Unavailable where this many more bytes would be over the limit."""
        if self._taken + size > self._limit:
            raise Unavailable(
                f"The requests under way hold {self._taken} bytes; {size} more are over this server's limit "
                f"of {self._limit} for all together, --max-inflight-bytes (TRTSERVE_MAX_INFLIGHT_BYTES). "
                "Try again when some of them have been answered."
            )
        self._taken += size


class Share:
    """What one request has of the bytes, until close(); InflightBytes.share closes what it made itself."""

    def __init__(self, whole: InflightBytes) -> None:
        self._whole = whole
        self.size = 0  # bytes

    def grow_to(self, size: int) -> None:
        """Have at least so many bytes. Raises Unavailable, and has what it had, where they are not there."""
        if size > self.size:
            self._whole.take(size - self.size)
            self.size = size

    def close(self) -> None:
        """Give the bytes back."""
        self._whole.give_back(self.size)
        self.size = 0
