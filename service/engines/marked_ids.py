"""Engine IDs that are marked while something goes on, which may be several things at the same time."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class MarkedIds:
    """Belongs to the event loop."""

    def __init__(self) -> None:
        self._marks: Counter[int] = Counter()

    def __contains__(self, id: int) -> bool:
        return id in self._marks

    @contextmanager
    def marked(self, id: int) -> Iterator[None]:
        """Mark the ID until the block ends, and then until the last other one that marks it ends."""
        self._marks[id] += 1
        try:
            yield
        finally:
            self._marks[id] -= 1
            if self._marks[id] == 0:
                del self._marks[id]
