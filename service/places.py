"""How many connections there may be: in all, and from each address."""

from collections import Counter

from trtserve.addresses import network_of

FULL, CROWDED = "full", "address"


class Places:
    """Belongs to the event loop. Each take() that succeeded needs one give()."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.most = most
        self.most_of_one = most_of_one
        self._taken: Counter[str] = Counter()  # by address
        self._all = 0

    def __len__(self) -> int:
        return self._all

    def take(self, address: str | None) -> str | None:
        """Take a place; if there is none, the reason: FULL, or CROWDED for this address."""
        network = network_of(address)
        if self._all >= self.most:
            return FULL
        if self._taken[network] >= self.most_of_one:
            return CROWDED
        self._taken[network] += 1
        self._all += 1
        return None

    def give(self, address: str | None) -> None:
        network = network_of(address)
        self._taken[network] -= 1
        self._all -= 1
        if not self._taken[network]:
            del self._taken[network]
