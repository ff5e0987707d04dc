"""How long a client may take to send a body or to receive an answer."""

LEAST_BYTES_S = 240  # the rate a client must keep: the default of Kestrel's MinRequestBodyDataRate


class Patience:
    """A client's time left, in seconds: it passes, and each moved byte gives 1 / LEAST_BYTES_S back.

    It never exceeds the initial time. So a client that keeps the least rate never runs out, whatever its
    pauses, and a slower one runs out soon after the initial time. Belongs to one thread.
    """

    __slots__ = ("left", "most")

    def __init__(self, seconds: float) -> None:
        self.most = seconds
        self.left = seconds

    def spend(self, seconds: float, moved: int) -> bool:
        """`seconds` passed and `moved` bytes moved meanwhile; False if no time is left."""
        self.left = min(self.most, self.left - seconds + moved / LEAST_BYTES_S)
        return self.left > 0
