"""Plans with flipped bytes, one at a time and in runs."""

from collections.abc import Iterator, Sequence

import numpy as np

HEADER_BYTES = 64
LONGEST_RUN = 64


def damaged(plans: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """Give `count` damaged copies of the plans, by turns, the same in every run.

    Of ten copies, seven have one wrong byte and three a run of them; in one of the ten, the damage begins in
    the header, otherwise anywhere.
    """
    rng = np.random.default_rng(seed)
    for i in range(count):
        plan = bytearray(plans[i % len(plans)])
        begin = int(rng.integers(HEADER_BYTES if i % 10 == 0 else len(plan)))
        length = 1 if i % 10 < 7 else int(rng.integers(2, LONGEST_RUN))
        for position in range(begin, min(begin + length, len(plan))):
            plan[position] ^= int(rng.integers(1, 256))
        yield bytes(plan)
