"""How long a client may take to send or to read what it must."""

LEAST_BYTES_S = 240  # that a client sends or takes: the default of Kestrel's MinRequestBodyDataRate


class Patience:
    """Time that is left to a client: it passes, and each byte that moves gives 1 / LEAST_BYTES_S of it back.

    There is never more of it than at first. So a client that keeps up the least rate has time for ever,
    whatever the pauses within it, and one that does not has none left soon after the time that it began with.
    Belongs to one thread.
    """

    __slots__ = ("left", "most")

    def __init__(self, seconds: float) -> None:
        self.most = seconds
        self.left = seconds

    def spend(self, seconds: float, moved: int) -> bool:
        """So much time passed, and so many bytes moved in it; False where nothing is left."""
        self.left = min(self.most, self.left - seconds + moved / LEAST_BYTES_S)
        return self.left > 0
